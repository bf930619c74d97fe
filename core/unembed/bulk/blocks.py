"""Blocks of vectors, and what an engine promises: to have every block inverted by workers."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from unembed.bulk.order import Head, Piece
from unembed.engine.effort import Effort
from unembed.sources.records import Vectors

if TYPE_CHECKING:
    from unembed.inversion.results import Row

__all__ = ["Block", "Engine", "Work", "block_size", "blocks_of"]

PARTS = 1000  # so many blocks are aimed at
GROUPS = 16  # groups of vectors, which are searched together, in a block at most


@dataclass(frozen=True)
class Block:
    """Vectors `[n, D]` that follow each other in a job, with what is known of each; `first` is the place of the first.

    Blocks of one job are equally long, but for the last.
    """

    first: int
    heads: Sequence[Head]
    vectors: Vectors

    def __len__(self) -> int:
        return len(self.heads)


@dataclass(frozen=True)
class Work:
    """All that a worker needs to know, on whichever machine it is: what `load` opens, and how it searches.

    `group` vectors are searched together; `options` are those of `Inverter.invert` (seed, precision, words).
    """

    inverter: str
    effort: Effort
    group: int
    embedder: str | None = None
    device: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """Workers, and how blocks come to them; a context manager.

    `device` is what each of the `workers` computes on ("cpu", "cuda").
    """

    device: str
    workers: int

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, work: Work, blocks: Iterator[Block]) -> "Iterator[tuple[int, list[Row]]]":
        """The rows of each block as soon as they are there, with the block's `first`: each block once, in any order.

        Few more blocks are taken than workers work on. A block whose worker dies is given to another.
        """
        ...


def block_size(count: int | None, group: int) -> int:
    """Vectors of a block: one group where there are few, more where there would be too many parts."""
    return group * max(1, min(GROUPS, (count or 0) // (PARTS * group)))


def blocks_of(pieces: Iterable[Piece], size: int, done: Collection[int] = ()) -> Iterator[Block]:
    """The vectors of a job in blocks of `size`, those left out whose first place is `done`."""
    heads: list[Head] = []
    vectors: list[Vectors] = []
    block = 0
    for start, some, rows in pieces:
        place, end = start, start + len(some)
        while place < end:
            block = place - place % size
            stop = min(block + size, end)
            if block not in done and (heads or place == block):  # one that began before the pieces is done too
                heads += some[place - start : stop - start]
                vectors.append(np.array(rows[place - start : stop - start]))
                if len(heads) == size:
                    yield Block(block, heads, np.concatenate(vectors))
                    heads, vectors = [], []
            place = stop
    if heads:
        yield Block(block, heads, np.concatenate(vectors))
