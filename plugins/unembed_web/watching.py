"""A search as events for a page: what came in, each step's best with what changed, and the end."""

import base64
import copy
import difflib
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from unembed.contract.embedder import Embedder
from unembed.engine.loop import Proposal, Step
from unembed.errors import InputError
from unembed.inversion.inverter import Inverter
from unembed.registry.specs import Modality
from unembed.threads import fitting_threads
from unembed_web.line import Job

__all__ = ["Asked", "changes", "watch"]

SHOWN = 6  # proposals of a step
PIECES = re.compile(r"\w+|\s+|[^\w\s]")


@dataclass(frozen=True)
class Asked:
    """What a visitor asks to be inverted, one of three: a text, a picture's file, a vector `[D]`."""

    text: str | None = None
    picture: bytes | None = None
    vector: NDArray[np.float32] | None = None


class Watched(Embedder):
    """An embedder that calls `before` whenever it is asked: a search can be ended within a step."""

    def __init__(self, box: Embedder, before: Callable[[], None]) -> None:
        super().__init__(
            name=box.name,
            modality=box.modality,
            dimension=box.dimension,
            normalized=box.normalized,
            device=box.device,
            similarity=box.similarity,
            meter=box.meter,
            available=box.available,
        )
        self.box, self.before = box, before

    def _embed(self, signals: Tensor) -> Tensor:
        self.before()
        return self.box.embed(signals)


def watch(job: Job, inverter: Inverter, kind: Modality | None, asked: Asked, effort: str) -> None:
    """Invert what was asked and send "started", a "step" each round, and "result"."""
    began = time.monotonic()
    show = partial(_shown, None if kind is None else kind.picture)
    settings = inverter.settings(effort)
    own = copy.copy(inverter)
    own.embedder = Watched(inverter.embedder, job.check)
    with fitting_threads(inverter.embedder, inverter.hypothesizer, inverter.corrector, inverter.editor):
        originals, vectors = _taken(own, kind, asked)
        job.send(
            "started",
            inverter=inverter.name,
            effort=effort,
            steps=settings.limits.steps,
            most=settings.fitted(inverter.parts).most(),
            dimension=inverter.dimension,
            modality=inverter.embedder.modality,
            original=None if originals is None else show(inverter.codec.decode(inverter.codec.encode(originals))[0]),
        )
        steps = _Steps(own, show, job, began)
        found = own.invert(
            vectors,
            effort=settings,
            on_step=steps,
            candidates=True,
        )
        (row,) = found.rows(exact=None if originals is None else inverter.exact(originals, found).tolist())
    del row["index"], row["reconstruction"]
    last = show(found.objects[0])
    job.send("result", **row, **last, parts=_parts(steps.before, last), seconds=time.monotonic() - began)


class _Steps:
    """Sends each step of the search for one vector."""

    def __init__(self, inverter: Inverter, show: Callable[[Any], dict[str, Any]], job: Job, began: float) -> None:
        self.codec, self.show, self.job, self.began = inverter.codec, show, job, began
        self.before: dict[str, Any] | None = None
        self.best = -math.inf

    def __call__(self, step: Step) -> None:
        self.job.check()
        (best,) = map(self.show, self.codec.decode(step.signals))
        similarity = float(step.similarity[0])
        proposals = step.proposals(most=SHOWN)
        # The best of this round is the best ever where there was a gain; it may have been met in an earlier one.
        first = proposals[0] if proposals and (step.number == 0 or similarity > self.best) else None
        self.job.send(
            "step",
            number=step.number,
            similarity=_known(similarity),
            queries=int(step.queries[0]),
            move=None if first is None else first.move,
            gain=first is not None,
            proposals=[self._proposal(one) for one in proposals],
            seconds=time.monotonic() - self.began,
            **best,
            parts=_parts(self.before, best),
        )
        self.before, self.best = best, similarity

    def _proposal(self, one: Proposal) -> dict[str, Any]:
        (shown,) = map(self.show, self.codec.decode(one.signal[None]))
        parent = None if one.parent is None else self.show(self.codec.decode(one.parent[None])[0])
        return {
            "move": one.move,
            "similarity": _known(one.similarity),
            **shown,
            "parts": _parts(parent, shown),
            "parent": parent,
            "parent_similarity": one.parent_similarity,
        }


def _taken(inverter: Inverter, kind: Modality | None, asked: Asked) -> tuple[list[Any] | None, Any]:
    """The original, where it is known, and its vector; raises InputError for what this inverter can't take."""
    pictures = kind is not None and kind.picture is not None
    if asked.vector is not None:
        return None, asked.vector
    if pictures != (asked.picture is not None):
        does = (
            "images: drop one, or a file of its vectors" if pictures else "texts: type one, or drop a file of vectors"
        )
        raise InputError(f"{inverter.name} takes {does}")
    original = [asked.text if asked.picture is None else asked.picture]
    return original, inverter.embed(original)


def _shown(picture: Callable[[Any], bytes] | None, one: Any) -> dict[str, Any]:
    """An object as a page shows it: `text`, or `picture` as an address that holds a PNG."""
    if picture is None:
        return {"text": str(one)}
    return {"picture": "data:image/png;base64," + base64.b64encode(picture(one)).decode()}


def _parts(before: dict[str, Any] | None, now: dict[str, Any]) -> list[tuple[bool, str]] | None:
    return None if "text" not in now else changes(None if before is None else before["text"], now["text"])


def changes(before: str | None, now: str) -> list[tuple[bool, str]]:
    """`now` in pieces, each with whether it is new since `before`; nothing is where there was nothing before.

    Joined, the pieces are `now`. Words and signs are compared; a space is new between two that are.
    """
    if before is None or before == now:
        return [(False, now)]
    old, new = PIECES.findall(before), PIECES.findall(now)
    fresh = [True] * len(new)
    for _, start, size in difflib.SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks():
        fresh[start : start + size] = [False] * size
    words = [place for place, piece in enumerate(new) if not piece.isspace()]
    for left, right in pairwise([None, *words, None]):
        between = left is not None and right is not None and fresh[left] and fresh[right]
        for place in range(0 if left is None else left + 1, len(new) if right is None else right):
            fresh[place] = between
    return [
        (mark, "".join(new[place] for place in group)) for mark, group in groupby(range(len(new)), fresh.__getitem__)
    ]


def _known(value: float | None) -> float | None:
    """JSON has no NaN."""
    return None if value is None or math.isnan(value) else value
