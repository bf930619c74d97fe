"""Batches of any size as parts that are searched together."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from unembed.defaults import AT_ONCE, CPU_AT_ONCE
from unembed.engine.effort import Effort

__all__ = ["at_once", "regrouped"]

MEMORY = 2**29  # bytes of candidates that a round may bring; a search holds a few times as many


def regrouped(batches: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """The rows of all batches in order, `size` at a time; no more of them are held than a batch and a part."""
    held: list[Tensor] = []
    count = 0
    for batch in batches:
        for part in torch.split(batch, size):
            held.append(part)
            count += len(part)
            if count >= size:
                rows = torch.cat(held)
                yield rows[:size]
                held, count = [rows[size:]], count - size
    if count:
        yield torch.cat(held)


def at_once(effort: Effort, signal: Tensor, dimension: int, device: torch.device) -> int:
    """How many targets a search may take together: what a round brings for them must fit into memory.

    `effort` is fitted to the inverter, `signal` is one of its signals, `[...]`.
    """
    start, later = effort.start.most(effort.beam), sum(move.most(effort.beam) for move in effort.moves)
    each = signal.numel() * signal.element_size() + dimension * 4
    most = CPU_AT_ONCE if device.type == "cpu" else AT_ONCE
    return max(1, min(most, MEMORY // (each * max(start, later, 1))))
