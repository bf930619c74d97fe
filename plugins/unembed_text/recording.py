"""Decoding steps recorded as CUDA graphs.

A step over a few hundred texts is hundreds of small kernels, and launching them one by one takes several times as long
as running them. Recorded once, they are launched as one: into buffers that stay where they are, at a position that is
a tensor. Rows and encoder positions are rounded up, so that a search whose texts leave meets few shapes.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Pairs", "Recording", "Recordings", "records"]

Pairs = list[tuple[Tensor, Tensor]]  # keys and values, a pair a layer

SLOTS = 2**16  # of all rows together; with more a GPU is busy anyway, and buffers are large
MOST = 2  # recordings that are kept, each with its buffers


def records(weight: Tensor, rows: int, slots: int, beams: int) -> bool:
    """Whether steps are worth recording: on a GPU, for inference (`weight` is in bfloat16), for little work."""
    small = _rounded(rows) * slots <= SLOTS and 2 * beams <= len(weight)  # the second step has all beams
    return weight.is_cuda and weight.dtype == torch.bfloat16 and not torch.is_grad_enabled() and small


class Recording:
    """One shape of step over buffers of its own; `user` is the cache that they serve now."""

    user: "Callable[[], Any] | None" = None

    def __init__(
        self,
        decoded: Callable[..., Tensor],
        own_bias: Callable[[int, int], Tensor],
        cross: Pairs,
        rows: int,
        states: int,
        places: Tensor,
        beams: int,
    ) -> None:
        (key, _), device, slots = cross[0], places.device, len(places)
        heads, width = key.shape[1], key.shape[3]
        positions = 1 + -(-slots // beams)
        self.decoded, self.places, self.table = decoded, places, own_bias(positions, positions)
        self.own: Pairs = [_pair(key, rows, heads, slots, width) for _ in cross]
        self.cross: Pairs = [_pair(key, rows, heads, states, width) for _ in cross]
        self.mask = torch.zeros(rows, 1, 1, states, device=device)
        self.ids = torch.zeros(rows, beams, dtype=torch.long, device=device)
        self.lineage = torch.zeros(rows, beams, slots, dtype=torch.bool, device=device)
        self.position = torch.zeros(1, dtype=torch.long, device=device)
        self.offsets = torch.arange(1 - beams, 1, device=device)  # all beams begin as one
        self.graph: Any = None
        self.hidden = self.mask

    def filled_with(self, cross: Pairs, mask: Tensor) -> tuple[Pairs, Pairs, Tensor]:
        """The buffers as far as there are rows, for the first step and what follows: own, cross and mask."""
        rows, states = len(mask), mask.shape[-1]
        for kept, given in zip(self.cross, cross, strict=True):
            for buffer, part in zip(kept, given, strict=True):
                buffer[:rows, :, :states].copy_(part)
        self.mask.fill_(-1e9)
        self.mask[:rows, ..., :states].copy_(mask)
        own, cross = ([(key[:rows], value[:rows]) for key, value in pairs] for pairs in (self.own, self.cross))
        return own, cross, self.mask[:rows]

    def step(self, ids: Tensor, lineage: Tensor, position: int) -> Tensor:
        """Hidden states `[R, beams, width]` after `ids` `[R, beams]`, until the next step."""
        rows = len(ids)
        self.ids[:rows].copy_(ids)
        self.lineage[:rows].copy_(lineage)
        self.position.fill_(position)
        if not ids.is_cuda:  # so that all but the recording can be tested
            self.hidden = self._decode()
        elif self.graph is None:
            self._record()
        else:
            self.graph.replay()
        return self.hidden[:rows]

    def _decode(self) -> Tensor:
        bias = self.table.index_select(2, self.position).index_select(3, self.places.clamp_max(self.position))
        bias = bias.masked_fill(self.places > self.position, -1e9)
        seen = None if self.ids.shape[1] == 1 else self.lineage
        where = self.position * self.ids.shape[1] + self.offsets
        return self.decoded(self.ids, bias, seen, where, self.own, self.cross, self.mask)

    def _record(self) -> None:
        # Once as usual, which loads the kernels; recording runs nothing.
        side, now = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(now)
        with torch.cuda.stream(side):
            self._decode()
        now.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.hidden = self._decode()
        self.graph = graph
        self.graph.replay()


class Recordings:
    """The last few recordings of a network, by shape."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, ...], Recording] = {}

    def take(
        self,
        decoded: Callable[..., Tensor],
        own_bias: Callable[[int, int], Tensor],
        cross: Pairs,
        mask: Tensor,
        places: Tensor,
        beams: int,
    ) -> Recording | None:
        """The recording for such a cache; None while another search has it."""
        rows, states = _rounded(len(mask)), -(-mask.shape[-1] // 32) * 32
        key = (rows, states, len(places), beams)
        found = self._kept.pop(key, None)
        if found is None:
            found = Recording(decoded, own_bias, cross, rows, states, places, beams)
        self._kept[key] = found
        for old in list(self._kept)[:-MOST]:
            del self._kept[old]
        return None if found.user is not None and found.user() is not None else found


def _pair(like: Tensor, *shape: int) -> tuple[Tensor, Tensor]:
    return like.new_zeros(shape), like.new_zeros(shape)


def _rounded(rows: int) -> int:
    """The next power of two, at least 8."""
    return max(8, 1 << (rows - 1).bit_length())
