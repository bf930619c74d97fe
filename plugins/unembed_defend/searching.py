"""The searches of attackers: each row is kept, and figures are made of rows."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from unembed import Inverter, cosine
from unembed.checkpoints.manifest import manifest_json
from unembed.engine.effort import Overrides
from unembed.inversion.bootstrap import bootstrap, mean
from unembed.inversion.keeping import digest
from unembed_audit.pipeline.ledger import Ledger, read_rows
from unembed_defend.attackers.seen import Attempt
from unembed_defend.preparing import Progress

__all__ = ["KEYS", "Searches", "effort_in_words", "figures", "headline", "one_figure", "weights_of"]

KEYS = ("defence", "attacker", "text")
AT_ONCE = {"cpu": 16}  # texts searched together; a stopped run loses no more than those
ELSEWHERE = 128

Row = dict[str, Any]


class Searches:
    """Searches for the same `texts` from what different attackers have of their vectors, each result kept once."""

    def __init__(
        self,
        ledger: Ledger,
        folder: Path,
        texts: Sequence[str],
        *,
        effort: str,
        overrides: Overrides | None = None,
        seed: int,
        on_progress: Progress | None = None,
    ) -> None:
        self.texts = list(texts)
        self._ledger, self._seed, self._on_progress = ledger, seed, on_progress
        self._effort, self._overrides = effort, overrides or Overrides()
        self._rows: dict[tuple[str, str], dict[int, Row]] = {}
        for row in read_rows(folder):
            self._rows.setdefault((row["defence"], row["attacker"]), {})[row["text"]] = row

    def run(
        self, inverter: Inverter, attempt: Attempt, defence: str, attacker: str, places: Iterable[int]
    ) -> list[Row]:
        """The rows of the texts at these places, in order; those that aren't kept yet are searched for."""
        kept, places = self._rows.setdefault((defence, attacker), {}), list(places)
        missing = [place for place in places if place not in kept]
        size = AT_ONCE.get(inverter.embedder.device.type, ELSEWHERE)
        precision = attempt.precision if inverter.embedder.similarity is cosine else None
        for start in range(0, len(missing), size):
            part = missing[start : start + size]
            effort = inverter.settings(self._effort, **self._overrides)
            found = inverter.invert(attempt.vectors[part], effort=effort, seed=self._seed, precision=precision)
            exact = inverter.exact([self.texts[place] for place in part], found).tolist()
            for place, same, row in zip(part, exact, found.rows(), strict=True):
                kept[place] = {
                    "defence": defence,
                    "attacker": attacker,
                    "text": place,
                    "recovered": row["reconstruction"],
                    "exact": bool(same),
                    "queries": row["queries"],
                }
                self._ledger.append(kept[place])
            if self._on_progress is not None:
                self._on_progress(f"{defence}, {attacker}", len(places) - len(missing) + start + len(part), len(places))
        return [kept[place] for place in places]


def effort_in_words(effort: str, steps: int | None, beam: int | None) -> str:
    """An effort with what was given in place of its own."""
    changed = {"steps": steps, "beam": beam}
    return ", ".join([effort, *(f"{name} {value}" for name, value in changed.items() if value is not None)])


def headline(inverter: Inverter) -> str:
    """The metric by which attackers are compared: the inverter's first that is best when high, else exactness."""
    return next((name for name, metric in inverter.metrics.items() if not metric.lowest_best), "exact_match")


def one_figure(inverter: Inverter, name: str, texts: Sequence[str], rows: Sequence[Row]) -> float:
    """The metric of that name alone, of rows."""
    if name not in inverter.metrics:
        return sum(bool(row["exact"]) for row in rows) / len(rows)
    metric = inverter.metrics[name]
    counts = metric.statistics([texts[row["text"]] for row in rows], [row["recovered"] for row in rows])
    return metric.aggregate(counts.sum(0))


def figures(inverter: Inverter, texts: Sequence[str], rows: Sequence[Row], *, seed: int = 0) -> dict[str, Any]:
    """The metrics of rows, each with a 95 % bootstrap interval under `ci`; `n` and the mean of queries."""
    import torch

    references = [texts[row["text"]] for row in rows]
    recovered = [row["recovered"] for row in rows]
    found: dict[str, Any] = {"n": len(rows)}
    ci: dict[str, list[float]] = {}
    for name, metric in inverter.metrics.items():
        counts = metric.statistics(references, recovered)
        found[name] = metric.aggregate(counts.sum(0))
        ci[name] = list(bootstrap(counts, metric.aggregate, seed=seed))
    exact = torch.tensor([[float(row["exact"]), 1.0] for row in rows], dtype=torch.float64)
    found["exact_match"] = mean(exact.sum(0))
    ci["exact_match"] = list(bootstrap(exact, mean, seed=seed))
    found["queries_per_item"] = sum(row["queries"] for row in rows) / len(rows)
    return {**found, "ci": ci}


def weights_of(inverter: Inverter) -> str | None:
    """A fingerprint of the checkpoint that an inverter was loaded from, if it was: names don't tell two apart."""
    return None if inverter.manifest is None else digest(manifest_json(inverter.manifest))
