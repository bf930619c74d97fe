"""Working with flat rows that belong to owners: hashing, first occurrences, the best few of each owner."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

__all__ = ["Chunked", "Seen", "best_of_each", "counts", "distinct", "rank_ordered", "rank_within", "row_hash"]

OWNER = -0x61C8864680B583EB  # spreads owners over 64 bits (the multiplier of Knuth's multiplicative hashing)
HASHED = 2**25  # values hashed at once


def row_hash(signals: Tensor) -> Tensor:
    """A 64-bit hash of each row of `[R, ...]`, equal for equal rows on one machine: int64 `[R]`.

    Two different rows collide with a probability of about 2⁻⁶³; floats are hashed by their bits.
    """
    rows = signals.reshape(len(signals), math.prod(signals.shape[1:]))
    width = rows.shape[1]
    factors = _factors(width, rows.device)
    # A few rows at a time: 64-bit copies of many images would not fit beside them.
    parts = torch.split(rows, max(1, HASHED // max(1, width)))
    return torch.cat([_hashed(part.contiguous(), factors) for part in parts])


@lru_cache(maxsize=8)
def _factors(width: int, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(0x5EED)
    return torch.randint(-(2**62), 2**62, (2, width), generator=generator).to(device)


def _hashed(rows: Tensor, factors: Tensor) -> Tensor:
    if rows.is_floating_point():
        rows = (rows.float() + 0.0).view(torch.int32)  # + 0.0 makes −0 and 0 one value
    mixed = (rows.long() + factors[0]) * (factors[1] | 1)
    mixed = mixed ^ (mixed >> 29)
    return (mixed * 0x2545F4914F6CDD1D).sum(1)


def rank_within(owner: Tensor) -> Tensor:
    """The place of each row among the rows of its owner, in order: `[0, 1, 0, 2]` for `[a, a, b, a]`."""
    order = owner.argsort(stable=True)
    return torch.empty_like(order).scatter_(0, order, rank_ordered(owner[order]))


def rank_ordered(ordered: Tensor) -> Tensor:
    """`rank_within` where owners are in order already."""
    return torch.arange(len(ordered), device=ordered.device) - torch.searchsorted(ordered, ordered)


def distinct(key: Tensor) -> tuple[Tensor, Tensor]:
    """The index of the first row of each different key `[U]`, and for every row which of those it equals `[R]`."""
    return _unique(key)[1:]


def _unique(key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The different keys in order `[U]`, and what `distinct` says of them."""
    keys, which = torch.unique(key, return_inverse=True)
    first = torch.full((len(keys),), len(key), device=key.device)
    return keys, first.scatter_reduce_(0, which, torch.arange(len(key), device=key.device), "amin"), which


def counts(owner: Tensor, owners: int) -> Tensor:
    """How many rows each owner has: `[owners]`. Unlike `bincount` it doesn't wait for a device."""
    return torch.zeros(owners, dtype=torch.long, device=owner.device).index_add_(0, owner, torch.ones_like(owner))


def best_of_each(owner: Tensor, score: Tensor, count: int) -> Tensor:
    """Indices of the `count` best rows of each owner, owners ascending, best first."""
    order = score.argsort(descending=True, stable=True)
    order = order[owner[order].argsort(stable=True)]
    return order[rank_ordered(owner[order]) < count]


class Seen:
    """The signals that each target has met, as one sorted list of hashes: nothing is embedded twice for a target."""

    def __init__(self, device: torch.device) -> None:
        self.keys = torch.zeros(0, dtype=torch.long, device=device)

    def add_new(self, owner: Tensor, hashed: Tensor, left: Tensor) -> Tensor:
        """Indices of the rows that are new to their target, in order, at most `left` `[N]` per target.

        `owner` and `hashed`, the `row_hash` of the signals, are `[R]`. From now on those rows are met.
        """
        key = hashed + owner * OWNER
        keys, first, _ = _unique(key)
        if len(self.keys):
            place = torch.searchsorted(self.keys, keys).clamp_max_(len(self.keys) - 1)
            first = first[self.keys[place] != keys]
        new = first.sort().values
        new = new[rank_within(owner[new]) < left[owner[new]]]
        if len(new):
            self.keys = _merged(self.keys, key[new].sort().values)
        return new


def _merged(a: Tensor, b: Tensor) -> Tensor:
    """Two sorted tensors without a common value as one, in time proportional to their length."""
    place = torch.searchsorted(a, b) + torch.arange(len(b), device=b.device)
    rest = torch.ones(len(a) + len(b), dtype=torch.bool, device=a.device).index_fill_(0, place, False)
    merged = torch.empty(len(rest), dtype=a.dtype, device=a.device).index_copy_(0, place, b)
    return merged.masked_scatter_(rest, a)


class Chunked:
    """Calls functions on chunks of rows; a chunk halves, for good, when the device runs out of memory."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, function: Callable[..., Tensor], *given: Any) -> Tensor:
        """Concatenate `function(*chunk)` over chunks of the tensors in `given`; what is no tensor is passed on.

        The tensors are equally long and not empty; the first argument is one.
        """
        parts, start = [], 0
        while start < len(given[0]):
            stop = start + self.size
            try:
                parts.append(function(*(x[start:stop] if isinstance(x, Tensor) else x for x in given)))
            except torch.OutOfMemoryError:
                if self.size == 1:
                    raise
                self.size = max(1, self.size // 2)
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
            else:
                start += self.size
        return parts[0] if len(parts) == 1 else torch.cat(parts)
