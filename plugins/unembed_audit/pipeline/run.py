"""The audit's one loop: records in, rows out, each written as soon as it is known."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from unembed.costs.pace import Progress
from unembed_audit.findings.detect import Tag, detect_all
from unembed_audit.findings.finding import Finding
from unembed_audit.findings.masking import mask, mask_unknown, mask_value
from unembed_audit.findings.support import SpanCalibration, supported
from unembed_audit.pipeline.comparing import compare
from unembed_audit.pipeline.ledger import Ledger
from unembed_audit.pipeline.sampling import Chosen

__all__ = ["Detectors", "Recovered", "row_of", "run"]

Vectors: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"


@dataclass(frozen=True)
class Recovered:
    """What an inversion gave for one vector.

    `place` is the vector's number among those handed over. `confidence` is the calibrated probability that `text` is
    exact, None without a calibration; `candidates` are the search's best different texts with their `similarities`,
    the first being `text`, where the search tells them.
    """

    place: int
    text: str
    similarity: float
    confidence: float | None = None
    verdict: str | None = None
    stopped: str | None = None
    steps: int = 0
    queries: int = 0
    candidates: Sequence[str] = ()
    similarities: Sequence[float] = ()


@dataclass(frozen=True)
class Detectors:
    """What finds spans, weighs them and counts a text's tokens.

    `same(originals, recovered)` says of each pair whether the embedder can tell them apart. `show` leaves values as
    they are; otherwise they are masked before they are written anywhere.
    """

    same: Callable[[Sequence[str], Sequence[str]], Sequence[bool]]
    tokens: Callable[[Sequence[str]], Sequence[int]]
    tag: Tag | None = None
    calibration: SpanCalibration | None = None
    show: bool = False


def run(
    records: Iterable[Chosen],
    *,
    invert: "Callable[[Iterable[Vectors]], Iterable[Recovered]]",
    ledger: Ledger,
    detectors: Detectors,
    total: int | None = None,
    before: int | None = None,
    batch: int = 32,
    on_progress: Callable[[Progress], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Invert the records that the ledger doesn't have yet and append their rows; returns how many were appended.

    `invert` takes batches of vectors `[n, D]` and yields a `Recovered` for each vector, in any order; only records on
    their way are held. Fewer results than vectors, or two for one, are an error of `invert` and raise RuntimeError.
    `before` is how many of the records the ledger has, all that it has if None: progress begins there.
    """
    before = len(ledger.done) if before is None else before
    began, done = clock(), 0
    waiting: dict[int, Chosen] = {}
    if on_progress is not None:
        on_progress(Progress(0, before, total, 0.0))

    def feed() -> Iterator[Any]:
        place = 0
        for group in _grouped((one for one in records if one.key not in ledger.done), batch):
            for one in group:
                waiting[place] = one
                place += 1
            yield np.stack([one.vector for one in group])

    for one in invert(feed()):
        if one.place not in waiting:
            raise RuntimeError(f"the inversion gave a result for vector {one.place}, which isn't waiting for one")
        ledger.append(row_of(waiting.pop(one.place), one, detectors))
        done += 1
        # Results come by batches: a rate between them would be too low.
        if on_progress is not None and (not waiting or done % batch == 0):
            on_progress(Progress(done, before, total, clock() - began))
    if waiting:
        raise RuntimeError(f"the inversion gave no result for {len(waiting)} of its vectors")
    return done


def row_of(record: Chosen, recovered: Recovered, detectors: Detectors) -> dict[str, Any]:
    """The row of one record as it is written: masked unless shown, compared with the original where that is known."""
    texts = [recovered.text] if record.text is None else [recovered.text, record.text]
    found, *original = detect_all(texts, tag=detectors.tag)
    weighed = supported(
        found,
        candidates=recovered.candidates,
        similarity=recovered.similarities,
        confidence=recovered.confidence,
        calibration=detectors.calibration,
    )
    exact = words = missed = None
    right: Sequence[bool | None] = [None] * len(found)
    if record.text is not None:
        compared = compare(recovered.text, found, record.text, original[0])
        exact = bool(detectors.same([record.text], [recovered.text])[0])
        words, right, missed = round(compared.words, 4), compared.right, compared.missed
    hide = mask if detectors.tag is not None else mask_unknown
    return {
        "id": record.id,
        "row": record.row,
        "collection": record.stratum.collection,
        "deleted": record.stratum.deleted,
        "text": recovered.text if detectors.show else hide(recovered.text, found),
        "tokens": int(detectors.tokens(texts[-1:])[0]),
        "similarity": _rounded(recovered.similarity),
        "confidence": _rounded(recovered.confidence),
        "verdict": recovered.verdict,
        "stopped": recovered.stopped,
        "steps": recovered.steps,
        "queries": recovered.queries,
        "exact": exact,
        "words": words,
        "missed": missed,
        "findings": [
            _written(finding, ok, detectors.show) for finding, ok in zip(weighed, right, strict=True)
        ],
    }  # fmt: skip


def _written(finding: Finding, right: bool | None, show: bool) -> Mapping[str, Any]:
    return {
        "kind": finding.kind,
        "value": finding.value if show else mask_value(finding),
        "by": finding.by,
        "score": _rounded(finding.score),
        "support": _rounded(finding.support),
        "right": right,
    }


def _rounded(value: float | None) -> float | None:
    """To six digits; what couldn't be measured is None, since JSON has no NaN."""
    return None if value is None or value != value else round(float(value), 6)


def _grouped(records: Iterable[Chosen], size: int) -> Iterator[list[Chosen]]:
    group: list[Chosen] = []
    for one in records:
        group.append(one)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
