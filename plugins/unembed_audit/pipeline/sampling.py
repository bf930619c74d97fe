"""Which records are inverted: a random sample of each collection, or all of them."""

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from unembed import RecordBatch

__all__ = ["Belongs", "Census", "Chosen", "Stratum", "draw", "everything"]

# Which of the vectors `[N, D]` are of the embedder in question.
Belongs = Callable[[NDArray[np.float32]], NDArray[np.bool_]]

SHOWN = 5  # reasons for skipped rows that are kept as examples


@dataclass(frozen=True, order=True)
class Stratum:
    """Records that are sampled together: those of a collection, the deleted ones by themselves."""

    collection: str
    deleted: bool = False


@dataclass(frozen=True)
class Chosen:
    """A record to invert: `vector` is float32 `[D]`, `row` its number in the source, `text` the original if known."""

    id: str
    row: int
    stratum: Stratum
    vector: "np.ndarray[tuple[int], np.dtype[np.float32]]"
    text: str | None = None

    @property
    def key(self) -> tuple[str, int]:
        """What names the record among all of the source."""
        return self.stratum.collection, self.row


@dataclass
class Census:
    """What a source holds, counted while it is read: records by stratum, rows without a usable vector, notes.

    `foreign` counts records whose vectors are another model's; they are in no stratum.
    """

    records: dict[Stratum, int] = field(default_factory=dict)
    foreign: int = 0
    skipped: int = 0
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def _take(self, batch: RecordBatch, width: int | None, belongs: Belongs | None) -> RecordBatch | None:
        """What of a batch can be looked at, its other rows and its notes counted; None for one of another width."""
        self.skipped += len(batch.skipped)
        for row in batch.skipped[: SHOWN - len(self.reasons)]:
            self.reasons.append(f"row {row.row}: {row.reason}")
        self.notes += [note for note in batch.notes if note not in self.notes]
        if width is None or len(batch) == 0 or batch.vectors.shape[1] == width:
            if belongs is None or len(batch) == 0:
                return batch
            ours = belongs(batch.vectors)
            self.foreign += int((~ours).sum())
            return batch.selected(np.flatnonzero(ours).tolist())
        self.skipped += len(batch)
        if len(self.reasons) < SHOWN:
            self.reasons.append(f"row {int(batch.rows[0])}: is {batch.vectors.shape[1]} wide, not {width}")
        return None


def everything(
    batches: Iterable[RecordBatch], census: Census, *, width: int | None = None, belongs: Belongs | None = None
) -> Iterator[Chosen]:
    """Every record (of that width and model, if given), in the order of the source; fills `census` on the way."""
    for given in batches:
        batch = census._take(given, width, belongs)
        if batch is None:
            continue
        for place in range(len(batch)):
            stratum = _stratum(batch, place)
            census.records[stratum] = census.records.get(stratum, 0) + 1
            yield _chosen(batch, place, stratum)


def draw(
    batches: Iterable[RecordBatch],
    size: int,
    *,
    seed: int,
    census: Census,
    width: int | None = None,
    belongs: Belongs | None = None,
) -> list[Chosen]:
    """A simple random sample of at most `size` records of each stratum; fills `census`.

    Only records of that `width`, and whose vectors `belongs` holds for, if given.

    The source is read once and only the sample is held. A record's lot is a hash of the seed, its collection and its
    row, so the same store and seed give the same sample. Strata take turns in the result, in the order in which the
    source has them: whatever is done of it first speaks for all.
    """
    kept: dict[Stratum, list[tuple[int, int, Chosen]]] = {}
    for given in batches:
        batch = census._take(given, width, belongs)
        if batch is None:
            continue
        for place in range(len(batch)):
            stratum = _stratum(batch, place)
            census.records[stratum] = census.records.get(stratum, 0) + 1
            heap = kept.setdefault(stratum, [])
            lot = -_lot(seed, stratum, int(batch.rows[place]))
            if len(heap) < size:
                heapq.heappush(heap, (lot, -int(batch.rows[place]), _chosen(batch, place, stratum)))
            elif lot > heap[0][0]:
                heapq.heapreplace(heap, (lot, -int(batch.rows[place]), _chosen(batch, place, stratum)))
    orders = [[one for _, _, one in sorted(heap, key=lambda entry: -entry[0])] for heap in kept.values()]
    return [order[turn] for turn in range(max(map(len, orders), default=0)) for order in orders if turn < len(order)]


def _stratum(batch: RecordBatch, place: int) -> Stratum:
    deleted = batch.deleted is not None and bool(batch.deleted[place])
    return Stratum("" if batch.collection is None else batch.collection, deleted)


def _chosen(batch: RecordBatch, place: int, stratum: Stratum) -> Chosen:
    text = None if batch.texts is None else batch.texts[place]
    return Chosen(batch.ids[place], int(batch.rows[place]), stratum, batch.vectors[place].copy(), text)


def _lot(seed: int, stratum: Stratum, row: int) -> int:
    named = f"{seed}|{stratum.collection}|{stratum.deleted}|{row}".encode()
    return int.from_bytes(hashlib.blake2b(named, digest_size=8).digest(), "big")
