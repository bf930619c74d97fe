"""A worker, which makes rows of vectors: the same on every engine."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unembed.bulk.blocks import Block, Work
from unembed.bulk.order import Head
from unembed.engine.effort import Effort
from unembed.inversion.inverter import Inverter
from unembed.inversion.results import Inversion, Row
from unembed.registry.opening import load

__all__ = ["Worker", "inverted", "rows_of"]


class Worker:
    """One inverter, opened where the worker is, which makes rows of blocks."""

    def __init__(self, work: Work) -> None:
        self.model = load(work.inverter, device=work.device, embedder=work.embedder)
        self.work = work

    def rows(self, block: Block) -> list[Row]:
        """A row for each vector of a block, in order; the same whichever worker makes them."""
        batch = (block.heads, torch.from_numpy(np.array(block.vectors)))
        groups = inverted(self.model, [batch], self.work.effort, at_once=self.work.group, **self.work.options)
        return [row for heads, found in groups for row in rows_of(heads, found)]


def inverted(
    model: Inverter, batches: Iterable[tuple[Sequence[Head], Tensor]], effort: Effort, **options: Any
) -> Iterator[tuple[list[Head], Inversion]]:
    """What came back for the vectors of all batches, in order, in groups that were searched together."""
    waiting: deque[Head] = deque()

    def vectors() -> Iterator[Tensor]:
        for heads, batch in batches:
            waiting.extend(heads)
            yield batch

    for _, found in model.inversions(vectors(), effort=effort, **options):
        yield [waiting.popleft() for _ in range(len(found))], found


def rows_of(heads: Sequence[Head], found: Inversion, exact: Sequence[bool | None] | None = None) -> list[Row]:
    """A row for each result: what is known of its vector, then what came back."""
    return [
        {**head, **{key: value for key, value in row.items() if key != "index"}}
        for head, row in zip(heads, found.rows(exact=exact), strict=True)
    ]
