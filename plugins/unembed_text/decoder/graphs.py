"""Searches whose turns, a token each, are recorded as CUDA graphs.

A turn over a few hundred texts is hundreds of small kernels, and launching them one by one takes several times as long
as running them. Recorded once, the layers and what a search makes of them are launched as one: into buffers that stay
where they are, at a position that is a tensor. Rows and encoder positions are rounded up, so that there are few shapes.
"""

import threading
import weakref
from typing import Any

import torch
from torch import Tensor

from unembed_text.decoder.cache import Cache, KeyValues, SlotLayout, reordered
from unembed_text.decoder.decoder import Decoder
from unembed_text.decoder.layers import Layers
from unembed_text.decoder.runs import PlainRun, Run, Scoring

__all__ = ["DecodeGraph", "GraphRun", "begin", "kept_graphs", "worth_recording"]

SLOTS = 2**16  # of all rows together; with more a GPU is busy anyway, and buffers are large
MOST = 2  # graphs of a decoder that are kept, each with its buffers


def begin(decoder: Decoder, states: Tensor, mask: Tensor, scoring: Scoring, *, beams: int, length: int) -> Run:
    """A search over encoder states `[R, S, width]` under `mask`, for `beams` texts a row of up to `length` tokens."""
    layout = SlotLayout(beams, length)
    if worth_recording(decoder, len(mask), layout):
        cross_kv = decoder.cross_kv(states)
        graph = _take(decoder, scoring, cross_kv, mask, layout)
        if graph is not None:
            graph.read(cross_kv, mask)
            return GraphRun(decoder, graph)
    return PlainRun(decoder, decoder.start(states, mask, beams=beams, length=length), scoring.select)


def worth_recording(decoder: Decoder, rows: int, layout: SlotLayout) -> bool:
    """Whether turns are worth recording: on a GPU, for inference (weights are in bfloat16), for little work."""
    weight = decoder.token_embed.weight
    # The second step has all beams; compiled layers are few kernels already.
    small = _rounded(rows) * layout.slots <= SLOTS and 2 * layout.beams <= len(weight) and decoder.layers == Layers()
    return weight.is_cuda and weight.dtype == torch.bfloat16 and not torch.is_grad_enabled() and small


class DecodeGraph:
    """One shape of turn over buffers of its own, `user` being the search that they serve now.

    It keeps no decoder alive; each call names the one that it was recorded of.
    """

    def __init__(
        self, decoder: Decoder, scoring: Scoring, cross_kv: KeyValues, rows: int, states: int, layout: SlotLayout
    ) -> None:
        (key, _), beams, slots = cross_kv[0], layout.beams, layout.slots
        (_, heads, _, width), device = key.shape, key.device
        count = 1 + -(-slots // beams)
        self.scoring = scoring
        self.cache = Cache(
            layout=layout,
            self_kv=[_pair(key, rows, heads, slots, width) for _ in cross_kv],
            cross_kv=[_pair(key, rows, heads, states, width) for _ in cross_kv],
            mask=torch.zeros(rows, 1, 1, states, device=device),
            ancestry=torch.zeros(rows, beams, slots, dtype=torch.bool, device=device),
            positions=layout.positions(device),
            weights=decoder.step_weights(count),
        )
        positions = self.cache.positions
        future = positions > torch.arange(count, device=device)[:, None]
        # [1, H, count, slots]: a row a position
        self.bias = self.cache.weights.bias[..., positions].masked_fill(future, -1e9)
        self.themselves = torch.eye(beams, dtype=torch.bool, device=device).expand(rows, -1, -1)
        self.position = torch.zeros(1, dtype=torch.long, device=device)
        self.offsets = torch.arange(1 - beams, 1, device=device)  # all beams begin as one
        self.graphs: dict[bool, torch.cuda.CUDAGraph] = {}  # of the first turn, and of those after it
        self.opening: Any = None  # the state that the first turn takes
        self.state: Any = None  # what every turn leaves
        self.rows = 0  # that the search has, the first of the buffers'
        self.user: weakref.ref[GraphRun] | None = None

    def read(self, cross_kv: KeyValues, mask: Tensor) -> None:
        """Take over what a search reads of the encoder."""
        self.rows, states = len(mask), mask.shape[-1]
        for kept, given in zip(self.cache.cross_kv, cross_kv, strict=True):
            for buffer, part in zip(kept, given, strict=True):
                buffer[: self.rows, :, :states].copy_(part)
        self.cache.mask.fill_(-1e9)
        self.cache.mask[: self.rows, ..., :states].copy_(mask)

    def begin(self, state: Any) -> None:
        """Take over a search's state before its first token, which all beams will share."""
        if self.opening is None:
            self.opening = self._buffers(state)
        for buffer, part in zip(self.opening, state, strict=True):
            buffer[: self.rows].copy_(part)
        self.cache.ancestry.zero_()[..., 0] = True
        self.position.zero_()

    def advance(self, decoder: Decoder, first: bool) -> Any:
        """The search's state after one more token, until the next turn; `first` after `begin`."""
        if not self.position.is_cuda:  # so that all but the recording can be tested
            self._write(*self._turn(decoder, first))
        elif first in self.graphs:
            self.graphs[first].replay()
        else:
            self._record(decoder, first)
        return type(self.state)(*(buffer[: self.rows] for buffer in self.state))

    def _turn(self, decoder: Decoder, first: bool) -> tuple[Any, Tensor | None]:
        """State and parents after one more token; doing it twice before `_write` is as doing it once."""
        beams = self.cache.layout.beams
        state = self.opening if first else self.state
        bias, where, ancestry = self.bias.index_select(2, self.position), self.position, None
        if beams > 1 and not first:  # a lone beam has all of the past
            where, ancestry = self.position * beams + self.offsets, self.cache.ancestry
            ancestry.index_copy_(2, where, self.themselves)
        hidden = decoder.decode(state.last, self.cache, bias, where, ancestry)
        state, parent = self.scoring.select(decoder, hidden, state, self.position, beams, first)
        if self.state is None:
            self.state = self._buffers(state)
        return state, parent

    def _write(self, state: Any, parent: Tensor | None) -> None:
        for buffer, part in zip(self.state, state, strict=True):
            buffer.copy_(part)  # of itself: nothing is done
        if parent is not None:
            self.cache.ancestry.copy_(reordered(self.cache.ancestry, parent))
        self.position.add_(1)

    def _buffers(self, state: Any) -> Any:
        return type(state)(*(part.new_zeros(len(self.cache.mask), *part.shape[1:]) for part in state))

    def _record(self, decoder: Decoder, first: bool) -> None:
        # Once as usual, which loads the kernels; recording runs nothing.
        side, now = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(now)
        with torch.cuda.stream(side):
            self._turn(decoder, first)
        now.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # The default stream stays on the first device that recorded; other threads may go on meanwhile.
        with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
            self._write(*self._turn(decoder, first))
        self.graphs[first] = graph
        graph.replay()


class GraphRun(Run):
    """A search over the buffers of a graph, which are its own while it lives."""

    def __init__(self, decoder: Decoder, graph: DecodeGraph) -> None:
        super().__init__()
        self.decoder, self.graph, self._length = decoder, graph, 0
        graph.user = weakref.ref(self)

    @property
    def length(self) -> int:
        """See `Run`."""
        return self._length

    def advance(self, state: Any) -> Any:
        """See `Run`."""
        first = self._length == 0
        if first:
            self.graph.begin(state)
        self._length += 1
        return self.graph.advance(self.decoder, first)

    def should_compact(self, left: int) -> bool:
        """Never: buffers stay as they are."""
        return False

    def compact(self, rows: Tensor) -> None:
        """See `should_compact`."""
        raise NotImplementedError("the buffers of a graph keep their rows")


class _Kept(threading.local):
    """The graphs of each decoder that lives; each thread has its own."""

    def __init__(self) -> None:
        self.graphs: weakref.WeakKeyDictionary[Decoder, dict[Any, DecodeGraph]] = weakref.WeakKeyDictionary()


_kept = _Kept()


def kept_graphs(decoder: Decoder) -> dict[Any, DecodeGraph]:
    """The last few graphs of a decoder, by scoring and shape; a copy of it has none yet."""
    return _kept.graphs.setdefault(decoder, {})


def _take(
    decoder: Decoder, scoring: Scoring, cross_kv: KeyValues, mask: Tensor, layout: SlotLayout
) -> DecodeGraph | None:
    """The graph for such a search; None while another search has it."""
    rows, states = _rounded(len(mask)), -(-mask.shape[-1] // 32) * 32
    kept, key = kept_graphs(decoder), (scoring, rows, states, layout)
    found = kept.pop(key, None)
    if found is None:
        found = DecodeGraph(decoder, scoring, cross_kv, rows, states, layout)
    kept[key] = found
    for old in list(kept)[:-MOST]:
        del kept[old]
    return None if found.user is not None and found.user() is not None else found


def _pair(like: Tensor, *shape: int) -> tuple[Tensor, Tensor]:
    return like.new_zeros(shape), like.new_zeros(shape)


def _rounded(rows: int) -> int:
    """The next power of two, at least 8."""
    return max(8, 1 << (rows - 1).bit_length())
