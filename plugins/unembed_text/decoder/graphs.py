"""Turns of a search, a token each, recorded as CUDA graphs.

A turn over a few hundred texts is hundreds of small kernels, and launching them one by one takes several times as long
as running them. Recorded once, the layers and what a search makes of them are launched as one: into buffers that stay
where they are, at a position that is a tensor. Rows and encoder positions are rounded up, so that there are few shapes.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from unembed_text.methods.closed.network import T5Network

__all__ = ["Follow", "Pairs", "Recording", "Recordings", "records", "reordered"]

# What a search does with a token's hidden states: `follow(network, hidden, state, position, beams, first)`, with
# `hidden` `[R, B, width]` and `position` `[1]`, 0 where `first` says so, gives the new state and the beams that its
# texts are children of, `[R, beams]`: None if all stay where they are. A state is a named tuple of tensors, rows first,
# with the tokens to read next as `last` `[R, B]`. The device is asked nothing, and a state is written into only where
# doing all of it again gives the same.
Follow = Callable[[Any, Tensor, Any, Tensor, int, bool], tuple[Any, Tensor | None]]
Pairs = list[tuple[Tensor, Tensor]]  # keys and values, a pair a layer

SLOTS = 2**16  # of all rows together; with more a GPU is busy anyway, and buffers are large
MOST = 2  # recordings that are kept, each with its buffers


def records(weight: Tensor, rows: int, slots: int, beams: int) -> bool:
    """Whether turns are worth recording: on a GPU, for inference (`weight` is in bfloat16), for little work."""
    small = _rounded(rows) * slots <= SLOTS and 2 * beams <= len(weight)  # the second step has all beams
    return weight.is_cuda and weight.dtype == torch.bfloat16 and not torch.is_grad_enabled() and small


class Recording:
    """One shape of turn over buffers of its own; `user` is the cache that they serve now."""

    user: "Callable[[], Any] | None" = None

    def __init__(
        self,
        network: "T5Network",
        follow: Follow,
        cross: Pairs,
        rows: int,
        states: int,
        places: Tensor,
        beams: int,
    ) -> None:
        (key, _), device, slots = cross[0], places.device, len(places)
        heads, width = key.shape[1], key.shape[3]
        positions = 1 + -(-slots // beams)
        self.network, self.follow, self.weights = network, follow, network.decoder_weights()
        future = places > torch.arange(positions, device=device)[:, None]
        self.biases = network.own_bias(positions)[..., places].masked_fill(future, -1e9)  # a row a position
        self.own: Pairs = [_pair(key, rows, heads, slots, width) for _ in cross]
        self.cross: Pairs = [_pair(key, rows, heads, states, width) for _ in cross]
        self.mask = torch.zeros(rows, 1, 1, states, device=device)
        self.lineage = torch.zeros(rows, beams, slots, dtype=torch.bool, device=device)
        self.themselves = torch.eye(beams, dtype=torch.bool, device=device).expand(rows, -1, -1)
        self.position = torch.zeros(1, dtype=torch.long, device=device)
        self.offsets = torch.arange(1 - beams, 1, device=device)  # all beams begin as one
        self.graphs: dict[bool, Any] = {}  # of the first turn, and of those after it
        self.opening: Any = None  # the state that the first turn takes
        self.state: Any = None  # what every turn leaves
        self.rows = 0  # that the search has, the first of the buffers'

    def read(self, cross: Pairs, mask: Tensor) -> None:
        """Take over what a search reads of the encoder."""
        self.rows, states = len(mask), mask.shape[-1]
        for kept, given in zip(self.cross, cross, strict=True):
            for buffer, part in zip(kept, given, strict=True):
                buffer[: self.rows, :, :states].copy_(part)
        self.mask.fill_(-1e9)
        self.mask[: self.rows, ..., :states].copy_(mask)

    def begin(self, state: Any) -> None:
        """Take over a search's state before its first token, which all beams will share."""
        if self.opening is None:
            self.opening = self._buffers(state)
        for buffer, part in zip(self.opening, state, strict=True):
            buffer[: self.rows].copy_(part)
        self.lineage.zero_()[..., 0] = True
        self.position.zero_()

    def turn(self, first: bool) -> Any:
        """The search's state after one more token, until the next turn; `first` after `begin`."""
        if not self.position.is_cuda:  # so that all but the recording can be tested
            self._write(*self._turned(first))
        elif first in self.graphs:
            self.graphs[first].replay()
        else:
            self._record(first)
        return type(self.state)(*(buffer[: self.rows] for buffer in self.state))

    def _turned(self, first: bool) -> tuple[Any, Tensor | None]:
        """State and parents after one more token; doing it twice before `_write` is as doing it once."""
        beams = 1 if first else self.lineage.shape[1]
        state = self.opening if first else self.state
        bias, where, seen = self.biases.index_select(2, self.position), self.position, None
        if beams > 1:  # a lone beam has all of the past
            where, seen = self.position * beams + self.offsets, self.lineage
            seen.index_copy_(2, where, self.themselves)
        hidden = self.network.decoded(state.last, bias, seen, where, self.own, self.cross, self.mask, self.weights)
        state, parent = self.follow(self.network, hidden, state, self.position, self.lineage.shape[1], first)
        if self.state is None:
            self.state = self._buffers(state)
        return state, parent

    def _write(self, state: Any, parent: Tensor | None) -> None:
        for buffer, part in zip(self.state, state, strict=True):
            buffer.copy_(part)  # of itself: nothing is done
        if parent is not None:
            self.lineage.copy_(reordered(self.lineage, parent))
        self.position.add_(1)

    def _buffers(self, state: Any) -> Any:
        return type(state)(*(part.new_zeros(len(self.mask), *part.shape[1:]) for part in state))

    def _record(self, first: bool) -> None:
        # Once as usual, which loads the kernels; recording runs nothing.
        side, now = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(now)
        with torch.cuda.stream(side):
            self._turned(first)
        now.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # The default stream stays on the first device that recorded; other threads may go on meanwhile.
        with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
            self._write(*self._turned(first))
        self.graphs[first] = graph
        graph.replay()


class Recordings(threading.local):
    """The last few recordings of a network, by shape; each thread has its own, and a copy of a network none yet."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], Recording] = {}

    def __reduce__(self) -> tuple[type["Recordings"], tuple[()]]:
        return Recordings, ()

    def take(
        self,
        network: "T5Network",
        follow: Follow,
        cross: Pairs,
        mask: Tensor,
        places: Tensor,
        beams: int,
        length: int,
    ) -> Recording | None:
        """The recording for such a cache of texts up to `length`; None while another search has it."""
        rows, states = _rounded(len(mask)), -(-mask.shape[-1] // 32) * 32
        key = (follow, rows, states, beams, length)
        found = self._kept.pop(key, None)
        if found is None:
            found = Recording(network, follow, cross, rows, states, places, beams)
        self._kept[key] = found
        for old in list(self._kept)[:-MOST]:
            del self._kept[old]
        return None if found.user is not None and found.user() is not None else found


def reordered(lineage: Tensor, parent: Tensor) -> Tensor:
    """Of children of the beams `parent` `[R, beams]`, given that of the beams before, `[R, B, slots]`."""
    return lineage.gather(1, parent[..., None].expand(-1, -1, lineage.shape[2]))


def _pair(like: Tensor, *shape: int) -> tuple[Tensor, Tensor]:
    return like.new_zeros(shape), like.new_zeros(shape)


def _rounded(rows: int) -> int:
    """The next power of two, at least 8."""
    return max(8, 1 << (rows - 1).bit_length())
