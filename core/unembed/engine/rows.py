"""Working with flat rows that belong to owners: hashing, first occurrences, the best few of each owner."""

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["Chunked", "best_of_each", "counts", "distinct", "first_of_each", "rank_ordered", "rank_within", "row_hash"]

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


def first_of_each(owner: Tensor, key: Tensor) -> Tensor:
    """Mask `[R]` of the rows that are the first with their owner and `row_hash` `key`."""
    first, which = distinct(key + owner * OWNER)
    return first[which] == torch.arange(len(owner), device=owner.device)


def distinct(key: Tensor) -> tuple[Tensor, Tensor]:
    """The index of the first row of each different key `[U]`, and for every row which of those it equals `[R]`."""
    keys, inverse = torch.unique(key, return_inverse=True)
    first = torch.full((len(keys),), len(key), device=key.device)
    return first.scatter_reduce(0, inverse, torch.arange(len(key), device=key.device), "amin"), inverse


def counts(owner: Tensor, owners: int) -> Tensor:
    """How many rows each owner has: `[owners]`. Unlike `bincount` it doesn't wait for a device."""
    return torch.zeros(owners, dtype=torch.long, device=owner.device).index_add_(0, owner, torch.ones_like(owner))


def best_of_each(owner: Tensor, score: Tensor, count: int) -> Tensor:
    """Indices of the `count` best rows of each owner, owners ascending, best first."""
    order = score.argsort(descending=True, stable=True)
    order = order[owner[order].argsort(stable=True)]
    return order[rank_ordered(owner[order]) < count]


class Chunked:
    """Calls functions on chunks of rows; a chunk halves, for good, when the device runs out of memory."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, function: Callable[..., Tensor], *rows: Tensor) -> Tensor:
        """Concatenate `function(*chunk)` over the chunks of `rows`, which are equally long and not empty."""
        parts, start = [], 0
        while start < len(rows[0]):
            try:
                parts.append(function(*(part[start : start + self.size] for part in rows)))
            except torch.OutOfMemoryError:
                if self.size == 1:
                    raise
                self.size = max(1, self.size // 2)
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
            else:
                start += self.size
        return torch.cat(parts)
