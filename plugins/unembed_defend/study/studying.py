"""`study`: one call from passages to a folder with the figures of every length, width and precision."""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unembed import Inverter, __version__
from unembed.contract.defence import Defence
from unembed.errors import InputError
from unembed.inversion.keeping import digest
from unembed_audit.pipeline.ledger import Ledger, read_rows
from unembed_defend.attackers.asking import attack_on
from unembed_defend.attackers.attempts import CLEAN
from unembed_defend.attackers.maps import linear_back
from unembed_defend.attackers.seen import unit
from unembed_defend.defences.opening import open_defence
from unembed_defend.preparing import Progress, embedded
from unembed_defend.searching import effort_in_words, weights_of
from unembed_defend.study.edits import near_edits, nearness
from unembed_defend.study.figures import report_of
from unembed_defend.study.grid import Reduction, reductions
from unembed_defend.study.texts import Passages
from unembed_defend.study.writing import write_study

__all__ = ["Plan", "study"]

KEYS = ("part", "reduction", "length", "text")
SEARCHED, EDITED = "searched", "edited"  # the parts of a row's key
AT_ONCE = {"cpu": 16}  # texts searched together; a stopped run loses no more than those
ELSEWHERE = 64
EMBED = 1024  # edits embedded together

Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How the study is run.

    Searches are of that `effort`, with `steps` and `beam` in place of its own, if given; `edits` near edits are made of
    each text. After `minutes` no further batch begins. `place` names where the texts are from.
    """

    lengths: Sequence[int]
    widths: Sequence[int]
    place: str = ""
    effort: str = "max"
    steps: int | None = None
    beam: int | None = None
    edits: int = 5000
    seed: int = 0
    minutes: float | None = None
    restart: bool = False

    @property
    def search(self) -> str:
        """The effort in words."""
        return effort_in_words(self.effort, self.steps, self.beam)


def study(
    inverter: Inverter, given: Passages, folder: Path, plan: Plan, *, on_progress: Progress | None = None
) -> dict[str, Any]:
    """Measure what comes back at every length, width and precision, and return the report as `report.json` has it.

    Every result is in `records.jsonl` as soon as it is known; called again with the same passages and plan, it goes on
    there, also with further widths. `complete` says in the report that nothing is left. Raises InputError for a folder
    begun with another plan.
    """
    run = _Run(inverter, given, folder, plan, on_progress)
    with Ledger(folder, run.settings(), restart=plan.restart, keys=KEYS, what="a study") as ledger:
        complete = all(run.parts(ledger))
    report = report_of(
        inverter, run.texts, run.reductions, list(read_rows(folder)), run.conditions(), run.cosines(), complete=complete
    )
    write_study(folder, report)
    return report


class _Run:
    """One run over the grid."""

    def __init__(
        self, inverter: Inverter, given: Passages, folder: Path, plan: Plan, on_progress: Progress | None
    ) -> None:
        self.inverter, self.given, self.folder, self.plan, self.on_progress = inverter, given, folder, plan, on_progress
        self.lengths = sorted(set(plan.lengths))
        self.texts = {length: given.texts[length] for length in self.lengths}
        self.count = len(self.texts[self.lengths[0]])
        longest = inverter.longest
        self.writable = [length for length in self.lengths if longest is None or length <= longest]
        self.reductions = reductions(inverter.dimension, plan.widths)
        self.began, self.slowest = time.monotonic(), 0.0
        if len(given.others) < 2 * inverter.dimension:
            raise InputError(
                f"maps back need {2 * inverter.dimension} other texts; there are {len(given.others)}: give more texts"
            )
        self.public = embedded(inverter, given.others, folder, "embedding other texts", on_progress)
        flat = [text for length in self.lengths for text in self.texts[length]]
        every = embedded(inverter, flat, folder, "embedding texts", on_progress)
        self.clean = dict(zip(self.lengths, every.split(self.count), strict=True))
        self.defences = {one.name: self._fitted(one) for one in self.reductions}

    def settings(self) -> dict[str, Any]:
        """What rows depend on."""
        plan = self.plan
        return {
            "texts": digest(*self.texts[self.lengths[-1]]),
            "others": digest(*self.given.others),
            "inverter": self.inverter.name,
            "weights": weights_of(self.inverter),
            "embedder": self.inverter.embedder.name,
            "effort": plan.search,
            "edits": plan.edits,
            "seed": plan.seed,
            "version": __version__,
        }

    def conditions(self) -> dict[str, Any]:
        """What the figures hold for."""
        plan = self.plan
        return {
            "data": plan.place,
            "texts": self.count,
            "others": len(self.given.others),
            "lengths": self.lengths,
            "widths": list(plan.widths),
            "unwritten": [length for length in self.lengths if length not in self.writable],
            "longest": self.inverter.longest,
            "inverter": self.inverter.name,
            "examples": None if self.inverter.manifest is None else self.inverter.manifest.training.get("examples"),
            "embedder": self.inverter.embedder.name,
            "width": self.inverter.dimension,
            "effort": plan.search,
            "edits": plan.edits,
            "seed": plan.seed,
            "hears": bool(self.inverter.told(1.0)),
            "version": __version__,
            "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        }

    def cosines(self) -> dict[str, float]:
        """Of vectors mapped back and clean ones, by the least squares that all pairs allow, for each reduction."""
        every, found = torch.cat([self.clean[length] for length in self.lengths]), {}
        for one in self.reductions:
            back = linear_back(self.stored(one, self.public), self.public)(self.stored(one, every))
            found[one.name] = float((unit(back) * unit(every)).sum(1).mean())
        return found

    def stored(self, one: Reduction, clean: Tensor) -> Tensor:
        """What a reduction leaves of clean vectors."""
        defence = self.defences[one.name]
        return clean if defence is None else defence.apply(clean)

    def parts(self, ledger: Ledger) -> Iterator[bool]:
        """Whether each part was done: the searches of each reduction, then the near edits."""
        for one in self.reductions:
            yield self._searched(one, ledger)
        yield self._edited(ledger)

    def _searched(self, one: Reduction, ledger: Ledger) -> bool:
        left = [
            (length, text)
            for length in self.writable
            for text in range(self.count)
            if (SEARCHED, one.name, length, text) not in ledger.done
        ]
        if not left:
            return True
        if self._spent():
            return False
        total, plan = len(self.writable) * self.count, self.plan
        attack = attack_on(self.inverter, self.defences[one.name], self.public, seed=plan.seed)
        inverter = attack.inverter
        effort = inverter.settings(plan.effort, steps=plan.steps, beam=plan.beam)
        size = AT_ONCE.get(inverter.embedder.device.type, ELSEWHERE)
        for start in range(0, len(left), size):
            if self._spent():
                return False
            began, part = time.monotonic(), left[start : start + size]
            stored = self.stored(one, torch.stack([self.clean[length][text] for length, text in part]))
            texts = [self.texts[length][text] for length, text in part]
            found = inverter.invert(stored, effort=effort, seed=plan.seed, precision=attack.precision)
            exact = inverter.exact(texts, found).tolist()
            nats: list[float | None] = [None] * len(part)
            if attack.surprisal is not None:
                signals = self.inverter.codec.encode(texts).to(stored.device)
                nats = attack.surprisal(stored, signals).tolist()
            for (length, text), row, same, left_over in zip(part, found.rows(), exact, nats, strict=True):
                ledger.append(
                    {
                        "part": SEARCHED,
                        "reduction": one.name,
                        "length": length,
                        "text": text,
                        "recovered": row["reconstruction"],
                        "exact": bool(same),
                        "similarity": row["similarity"],
                        "queries": row["queries"],
                        "nats": left_over,
                    }
                )
            self._took(began)
            self._say(f"searching, {one.label}", total - len(left) + start + len(part), total)
        return True

    def _edited(self, ledger: Ledger) -> bool:
        places = [(length, text) for length in self.lengths for text in range(self.count)]
        word = self.inverter.codec.word or r"\w+"
        words = [found for text in self.given.others for found in re.findall(word, text) if found.isalnum()]
        for done, (length, text) in enumerate(places):
            missing = [one for one in self.reductions if (EDITED, one.name, length, text) not in ledger.done]
            if not missing:
                continue
            if self._spent():
                return False
            began = time.monotonic()
            clean = self._with_edits(self.texts[length][text], words, word, digest(length, text, self.plan.seed))
            for one in missing:
                found = nearness(self.stored(one, clean))
                ledger.append(
                    {
                        "part": EDITED,
                        "reduction": one.name,
                        "length": length,
                        "text": text,
                        "edits": found.edits,
                        "nearest": found.nearest,
                        "margin": found.margin,
                    }
                )
            self._took(began)
            self._say("comparing with near edits", done + 1, len(places))
        return True

    def _with_edits(self, text: str, words: Sequence[str], word: str, seed: str) -> Tensor:
        """Clean vectors of a text and, below it, of its near edits that the embedder can tell from it."""
        codec, embedder = self.inverter.codec, self.inverter.embedder
        signals = codec.encode([text, *near_edits(text, words, word, self.plan.edits, int(seed, 16))])
        own, others = signals[:1], signals[1:].unique(dim=0)
        others = others[(others != own).any(1)]
        return torch.cat([embedder.embed(part) for part in torch.cat([own, others]).split(EMBED)])

    def _fitted(self, one: Reduction) -> Defence | None:
        if one.name == CLEAN:
            return None
        defence = open_defence(one.name)
        defence.fit(self.public, self.plan.seed)
        return defence

    def _spent(self) -> bool:
        """Whether a batch as slow as the slowest would end too late."""
        minutes = self.plan.minutes
        return minutes is not None and time.monotonic() - self.began + self.slowest > 60 * minutes

    def _took(self, began: float) -> None:
        self.slowest = max(self.slowest, time.monotonic() - began)

    def _say(self, what: str, done: int, of: int) -> None:
        if self.on_progress is not None:
            self.on_progress(what, done, of)
