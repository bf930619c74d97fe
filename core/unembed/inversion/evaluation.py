"""Measuring an inverter: embed known signals, invert their vectors, compare."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unembed.defaults import CHUNK_SIZE, EFFORT
from unembed.engine.loop import Step
from unembed.errors import InputError
from unembed.inversion.bootstrap import bootstrap, mean
from unembed.inversion.calibration import Calibration, calibration_counts, calibration_error
from unembed.inversion.inverter import Inverter
from unembed.inversion.results import Inversion

__all__ = ["Evaluation", "evaluate", "evaluate_steps"]


@dataclass(frozen=True)
class Evaluation:
    """Corpus metrics of N inversions, each with its 95 % bootstrap interval, and the texts (or others) compared.

    `metrics` has the inverter's own (for text `bleu` 0 to 100 and `token_f1`), `exact_match` and
    `similarity` (both 0 to 1), `queries_per_item` and, of a calibrated inverter, `calibration_error`; `seconds` is
    the time of the inversions alone. `similarity` and `exact` are `[N]`.
    """

    metrics: dict[str, float]
    ci: dict[str, tuple[float, float]]
    seconds: float
    references: list[Any]
    reconstructions: list[Any]
    similarity: Tensor
    exact: Tensor

    @property
    def n(self) -> int:
        """How many were inverted."""
        return len(self.references)

    def summary(self) -> dict[str, Any]:
        """All figures as one flat JSON-able object."""
        return {
            "n": self.n,
            **self.metrics,
            "seconds": self.seconds,
            "ci": {name: list(interval) for name, interval in self.ci.items()},
        }


def evaluate(
    inverter: Inverter,
    signals: Tensor,
    *,
    effort: str = EFFORT,
    steps: int | None = None,
    beam: int | None = None,
    max_queries: int | None = None,
    chunk_size: int | None = None,
    seed: int = 0,
    on_step: Callable[[Step], None] | None = None,
) -> Evaluation:
    """Invert the embeddings of `signals` `[N, ...]` and compare what comes back with them.

    `signals` come from the inverter's codec: `codec.encode(objects)`, or `codec.first(passages, length)`.
    A reconstruction is exact when the embedder can't tell it from the original: their signals are equal.
    """
    search = inverter.settings(effort, steps=steps, beam=beam, max_queries=max_queries)
    (found,) = evaluate_steps(
        inverter,
        signals,
        (search.steps,),
        effort=effort,
        beam=beam,
        max_queries=max_queries,
        chunk_size=chunk_size,
        seed=seed,
        on_step=on_step,
    )
    return found


def evaluate_steps(
    inverter: Inverter,
    signals: Tensor,
    steps: Sequence[int],
    *,
    effort: str = EFFORT,
    beam: int | None = None,
    patience: int | None = None,
    max_queries: int | None = None,
    chunk_size: int | None = None,
    at_once: int | None = None,
    seed: int = 0,
    on_step: Callable[[Step], None] | None = None,
) -> list[Evaluation]:
    """What `evaluate` gives at each of several numbers of steps, from one search of the most: `len(steps)` results.

    `at_once` signals are searched for together, all unless given: a search holds every candidate of a step in memory.
    Each result has the seconds of the whole search.
    """
    if len(signals) == 0 or not steps:
        raise InputError("there is nothing to evaluate on: no signals, or no numbers of steps")
    few = inverter.codec.decode(signals[:2])
    for metric in inverter.metrics.values():
        metric.statistics(few, few)  # what a measure lacks is found out before the search, not after it
    seconds, last = 0.0, max(steps)
    found: list[list[_Found]] = []
    for part in torch.split(signals, at_once or len(signals)):
        vectors = torch.cat([inverter.embedder.embed(rows) for rows in torch.split(part, CHUNK_SIZE)])
        began = time.monotonic()
        inversion = inverter.invert(
            vectors,
            effort=effort,
            steps=last,
            beam=beam,
            patience=patience,
            max_queries=max_queries,
            chunk_size=chunk_size,
            seed=seed,
            on_step=on_step,
            trace=len(set(steps)) > 1,
        )
        seconds += time.monotonic() - began
        found.append([_at(inverter, vectors, inversion, step, last) for step in steps])
    calibration = None if inverter.manifest is None else inverter.manifest.calibration
    references, results = inverter.codec.decode(signals), []
    for parts in zip(*found, strict=True):
        whole = _Found(*(torch.cat(values) for values in zip(*parts, strict=True)))
        results.append(_measured(inverter, signals, references, whole, calibration, seconds, seed))
    return results


class _Found(NamedTuple):
    """What a search had after some steps."""

    signals: Tensor
    similarity: Tensor
    queries: Tensor


def _at(inverter: Inverter, target: Tensor, inversion: Inversion, step: int, last: int) -> _Found:
    """What a search of so many steps would have returned; one that ended early had its result from then on."""
    if inversion.trace is None or step == last:
        return _Found(inversion.signals, inversion.similarity, inversion.queries)
    state = inversion.trace[min(step, len(inversion.trace) - 1)]
    # As an inversion does: what is reported is measured on the object that is returned.
    signals = inverter.codec.encode(inverter.codec.decode(state.signals)).to(state.signals.device)
    changed = (signals != state.signals).flatten(1).any(1)
    similarity = state.similarity.clone()
    if changed.any():
        embedder = inverter.embedder
        similarity[changed] = embedder.similarity(target[changed], embedder.embed(signals[changed]))
    return _Found(signals, similarity, state.queries + changed)


def _measured(
    inverter: Inverter,
    signals: Tensor,
    references: list[Any],
    found: _Found,
    calibration: Calibration | None,
    seconds: float,
    seed: int,
) -> Evaluation:
    reconstructions = inverter.codec.decode(found.signals)
    exact = (signals.to(found.signals.device) == found.signals).flatten(1).all(1)
    metrics: dict[str, float] = {}
    ci: dict[str, tuple[float, float]] = {}
    for name, metric in inverter.metrics.items():
        counts = metric.statistics(references, reconstructions)
        metrics[name] = metric.aggregate(counts.sum(0))
        ci[name] = bootstrap(counts, metric.aggregate, seed=seed)
    for name, values in (
        ("exact_match", exact),
        ("similarity", found.similarity),
        ("queries_per_item", found.queries),
    ):
        column = values.double().cpu()
        counts = torch.stack([column, torch.ones_like(column)], 1)
        metrics[name] = mean(counts.sum(0))
        ci[name] = bootstrap(counts, mean, seed=seed)
    if calibration is not None:
        counts = calibration_counts(calibration.confidence(found.similarity), exact)
        metrics["calibration_error"] = calibration_error(counts.sum(0))
        ci["calibration_error"] = bootstrap(counts, calibration_error, seed=seed)
    return Evaluation(metrics, ci, seconds, references, reconstructions, found.similarity, exact)
