"""Which records of a source are inverted, and in which order: by what is known of them before any search.

A source is read from its beginning to its end, so another order than its own takes more than one pass over it: one to
see which records there are, then one for each stretch of records that lie in the source's order, or for as many
records as are held together where such stretches are short.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unembed.errors import InputError, brief
from unembed.sources.records import RecordBatch, Vectors

__all__ = ["Head", "Order", "Piece", "Read", "Selection", "order_of"]

Head = dict[str, Any]  # what stands at the head of a row
Read = Callable[[], Iterator[tuple[list[Head], RecordBatch]]]
Piece = tuple[int, list[Head], Vectors]  # the place of the first in the order, and some that follow each other
Places = NDArray[np.int64]

HELD = 2**26  # bytes of vectors that are held together
TEXT = 32  # bytes by which texts are ordered
NAMES = ("stored", "random", "deleted", "by:FIELD")
_GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Order:
    """`name` is "stored", "random", "deleted" (those first) or "by": by a payload's `field`, lowest first."""

    name: str = "stored"
    field: str = ""
    descending: bool = False

    def __str__(self) -> str:
        return f"by:{'-' * self.descending}{self.field}" if self.name == "by" else self.name


def order_of(text: str) -> Order:
    """The order of that name; raises InputError."""
    name, mark, field = text.partition(":")
    if name == "by" and field.lstrip("-"):
        return Order("by", field.removeprefix("-"), field.startswith("-"))
    if mark or text not in NAMES:
        raise InputError(f"no order {brief(text)!r}; the orders are {', '.join(NAMES)} and by:-FIELD")
    return Order(text)


class Selection:
    """All records that `read` gives, or `sample` of them at random, in an order.

    `seed` chooses the sample and a random order; a smaller sample lies within a larger one. `total` is their number,
    once that is known.
    """

    def __init__(self, order: Order | None = None, sample: int | None = None, seed: int = 0) -> None:
        self.order, self.sample, self.seed = order or Order(), sample, seed
        self.total: int | None = None
        self._places: Places | None = None

    @property
    def whole(self) -> bool:
        """Whether this is all records in their own order."""
        return self.order.name == "stored" and self.sample is None

    def pieces(self, read: Read, first: int = 0) -> Iterator[Piece]:
        """The records in order, beginning where it is cheapest at or before place `first`.

        Raises InputError for a field that isn't there, and where the source changes as it is read.
        """
        if self.whole:
            place = 0
            for heads, batch in read():
                yield place, heads, batch.vectors
                place += len(heads)
            self.total = place
            return
        if self._places is None:
            self._places = self._survey(read)
            self.total = len(self._places)
        for start, stop, held in _passes(self._places, self._held):
            if stop > first:
                yield from _pass(read, self._places[start:stop], start, held)

    def _survey(self, read: Read) -> Places:
        """One pass: the numbers of the chosen records among all, in order."""
        keys, kept = _Keys(self.order), _Kept(self.sample)
        count = 0
        for heads, batch in read():
            places = np.arange(count, count + len(heads))
            random = _mixed(places, self.seed)
            kept.add(places, random, keys.of(batch, random))
            count += len(heads)
            self._held = max(1, HELD // batch.vectors[:1].nbytes) if len(heads) else 1
        return kept.ordered(keys)


class _Keys:
    """What an order goes by, of each record; the lowest comes first."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.found: Counter[type] = Counter()
        self._fields: Counter[str] = Counter()

    def of(self, batch: RecordBatch, random: NDArray[np.uint64]) -> NDArray[Any]:
        if self.order.name == "random":
            return random
        if self.order.name == "deleted":
            return np.ones(len(batch), bool) if batch.deleted is None else ~batch.deleted
        if self.order.name == "stored":
            return np.zeros(len(batch), bool)
        values = [self._value(payload) for payload in batch.payloads or [None] * len(batch)]
        if self.found[str] and self.found[float]:
            raise InputError(f"--order {self.order}: the field holds texts and numbers, which can't be ordered")
        if self.found[str]:
            return np.array([b"" if value is None else value.encode()[:TEXT] for value in values], f"S{TEXT}")
        return np.array([np.nan if value is None else value for value in values], np.float64)

    def _value(self, payload: Any) -> Any:
        value = None if payload is None else payload.get(self.order.field)
        if value is None:
            self._fields.update(payload or ())
            return None
        known = float(value) if isinstance(value, bool | int | float | np.number) else str(value)
        self.found[type(known)] += 1
        return known

    def check(self) -> None:
        """Raise InputError where no record has the field."""
        if self.order.name == "by" and not self.found:
            fields = ", ".join(sorted(self._fields)[:12]) or "none"
            raise InputError(f"--order {self.order}: no record has that field; they have {brief(fields, 200)}")


class _Kept:
    """Places and keys of all records, or of those whose random numbers are the lowest."""

    def __init__(self, sample: int | None) -> None:
        self._sample = sample
        self._parts: list[tuple[Places, NDArray[np.uint64], NDArray[Any]]] = []
        self._count = 0

    def add(self, places: Places, random: NDArray[np.uint64], keys: NDArray[Any]) -> None:
        self._parts.append((places, random if self._sample is not None else random[:0], keys))
        self._count += len(places)
        if self._sample is not None and self._count > 2 * self._sample + 2**16:
            self._parts = [self._lowest(self._sample)]
            self._count = len(self._parts[0][0])

    def _lowest(self, sample: int) -> tuple[Places, NDArray[np.uint64], NDArray[Any]]:
        places, random, keys = self._all()
        if len(places) > sample:
            few = np.sort(np.argpartition(random, sample)[:sample])
            places, random, keys = places[few], random[few], keys[few]
        return places, random, keys

    def _all(self) -> tuple[Places, NDArray[np.uint64], NDArray[Any]]:
        places, random, keys = zip(*self._parts, strict=True) if self._parts else ((), (), ())
        if any(part.dtype.kind == "S" for part in keys):  # before its first text, a field has no value
            keys = tuple(part if part.dtype.kind == "S" else np.zeros(len(part), f"S{TEXT}") for part in keys)
        return tuple(np.concatenate([*part]) if part else np.empty(0, np.int64) for part in (places, random, keys))  # type: ignore[return-value]

    def ordered(self, keys: _Keys) -> Places:
        keys.check()
        places, _, found = self._all() if self._sample is None else self._lowest(self._sample)
        if keys.order.name != "by":
            return places[np.argsort(found, kind="stable")]
        missing = found == b"" if found.dtype.kind == "S" else np.isnan(found)
        rank = np.unique(found, return_inverse=True)[1]
        return places[np.lexsort((places, -rank if keys.order.descending else rank, missing))]


def _mixed(places: Places, seed: int) -> NDArray[np.uint64]:
    """A random number of each place, another for each (splitmix64)."""
    mixed = places.astype(np.uint64) * np.uint64(_GOLDEN) + np.uint64((seed * 0xD1342543DE82EF95 + _GOLDEN) % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _passes(places: Places, held: int) -> list[tuple[int, int, bool]]:
    """What is read in one pass each, `[start, stop)` of the order; and whether its records are held until its end."""
    runs = np.flatnonzero(np.diff(places) < 0) + 1
    if len(runs) < -(-len(places) // held):  # in the source's own order a pass holds nothing
        ends = [0, *runs.tolist(), len(places)]
        return [(start, stop, False) for start, stop in pairwise(ends)]
    return [(start, min(start + held, len(places)), True) for start in range(0, len(places), held)]


def _pass(read: Read, wanted: Places, first: int, held: bool) -> Iterator[Piece]:
    """The records of some places, in that order, in one pass; where they aren't `held` the places ascend."""
    order = np.argsort(wanted, kind="stable")
    ascending = wanted[order]
    heads: list[Head] = [{}] * (len(wanted) if held else 0)
    vectors: Vectors | None = None
    count = found = 0
    for batch_heads, batch in read():
        low, high = np.searchsorted(ascending, (count, count + len(batch_heads)))
        within, to = ascending[low:high] - count, order[low:high]
        count, found = count + len(batch_heads), found + len(within)
        if not len(within):
            continue
        if not held:
            yield first + int(low), [batch_heads[place] for place in within], batch.vectors[within]
            continue
        if vectors is None:
            vectors = np.empty((len(wanted), batch.vectors.shape[1]), np.float32)
        vectors[to] = batch.vectors[within]
        for place, target in zip(within.tolist(), to.tolist(), strict=True):
            heads[target] = batch_heads[place]
    if found < len(wanted):
        raise InputError("the source changed while it was read: records are gone; give the same command again")
    if vectors is not None:
        yield first, heads, vectors
