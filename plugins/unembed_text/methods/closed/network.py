"""The encoder-decoder that guesses and corrects: a T5 whose encoder reads embeddings and a hypothesis.

One network has both roles (Morris et al. 2023, section 4, has two): with no hypothesis the encoder reads the
target alone; with one it reads the target, the hypothesis's embedding, their difference and the hypothesis's
tokens. The weights live in transformers' T5 modules; the forward passes here are ours, since speed is the
point: one code path for training and for cached generation, no masks where there is no padding.
"""

import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Block, T5LayerNorm

from unembed.devices import bfloat16_is_fast
from unembed_text.decoder import blocks as layers
from unembed_text.decoder.attention import grow, split_heads
from unembed_text.decoder.blocks import Weights, folded, joined, norm, weights_of
from unembed_text.decoder.cache import Cache
from unembed_text.decoder.graphs import Follow, Pairs, Recordings, records
from unembed_text.decoder.roughness import features

__all__ = ["InversionNetwork", "Projection", "Special", "T5Network", "stored_for"]

EMBEDDING_RMS = 13.5  # of the pretrained token embeddings, which the condition vectors join


@dataclass(frozen=True)
class Special:
    """The embedder's own special ids: padding, the decoder's start, its end."""

    pad: int
    start: int
    end: int


class Projection(nn.Module):
    """One embedding `[N, D]` to a few encoder positions `[N, positions, width]`."""

    def __init__(self, dimension: int, hidden: int, positions: int, width: int) -> None:
        super().__init__()
        self.positions = positions
        self.enter = nn.Linear(dimension, hidden)
        self.leave = nn.Linear(hidden, positions * width)
        nn.init.normal_(self.enter.weight, std=dimension**-0.5)
        nn.init.normal_(self.leave.weight, std=EMBEDDING_RMS * 1.5 * hidden**-0.5)
        nn.init.zeros_(self.enter.bias)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, told: Tensor | None = None) -> Tensor:
        entered = self.enter(x)
        return self.leave(F.gelu(entered if told is None else entered + told)).unflatten(-1, (self.positions, -1))


class T5Network(nn.Module, ABC):
    """A T5 that reads what a subclass makes of embeddings and a hypothesis, and writes signals.

    `config` is a T5Config's dictionary. With `tied` the output matrix is the token embedding's, and the decoder's
    states are scaled by width to the power −½ before it (Raffel et al. 2020; version 1.1 does neither).
    """

    def __init__(self, config: dict[str, Any], *, dimension: int, special: Special, tied: bool) -> None:
        super().__init__()
        t5 = T5Config(**config)
        if not layers.knows(t5):
            what = f"{t5.feed_forward_proj!r} and a layer_norm_epsilon of {t5.layer_norm_epsilon}"
            raise ValueError(f"T5 layers come with relu or gated-gelu, and {layers.EPSILON}; this one has {what}")
        # transformers 5 ties the output to the embedding on every T5Config; v1.1 has a separate one.
        t5.tie_word_embeddings = False
        t5.scale_decoder_outputs = False
        self.t5 = T5ForConditionalGeneration(t5)
        self.t5.set_input_embeddings(self.t5.shared)
        self.tied = tied
        self.scale = t5.d_model**-0.5 if tied else 1.0
        if tied:
            self.t5.lm_head.weight = self.t5.shared.weight
        else:
            self.t5.lm_head.weight = nn.Parameter(torch.empty(t5.vocab_size, t5.d_model).normal_(std=0.5))
        self.config = config
        self.special = special
        self.dimension = dimension
        self.dropout = float(t5.dropout_rate)
        self.heads = t5.num_heads
        never = torch.tensor([special.pad, special.start], device="cpu")  # also where the rest has no storage yet
        self.register_buffer("never", never, persistent=False)
        self.drop = layers.drop
        self.leave = layers.leave
        self.encoder_layer = layers.encoder_layer
        self.decoder_layer = layers.decoder_layer
        self.token_loss = layers.token_loss
        self.project = layers.project
        self.finish = layers.finish
        self.pick = layers.pick
        self.recordings = Recordings()
        self.records = True

    def compile_layers(self) -> None:
        """Compile what repeats: the layers, the loss and the halves of a decoding step."""
        # Shapes vary from the first batch on; numbers of heads and the like don't.
        torch._dynamo.config.specialize_int = True
        torch._dynamo.config.specialize_float = True
        # Training, evaluation, first guesses and corrections each have a variant of the one layer.
        torch._dynamo.config.recompile_limit = 32
        for name in ("drop", "leave", "encoder_layer", "decoder_layer", "token_loss", "project", "finish", "pick"):
            setattr(self, name, torch.compile(getattr(self, name), dynamic=True))
        self.records = False

    @abstractmethod
    def encode(self, target: Tensor, hypothesis: Tensor | None, embedding: Tensor | None) -> tuple[Tensor, Tensor]:
        """Encoder states `[N, S, width]` and the additive mask `[N, 1, 1, S]` of the hypothesis's padding.

        `target` and `embedding` are `[N, D]`, `hypothesis` ids `[N, L]`; the last two come together or not.
        """

    def encoded(self, x: Tensor, hypothesis: Tensor | None) -> tuple[Tensor, Tensor]:
        """States and mask of inputs `[N, S, width]` that end in those of `hypothesis`, if there is one.

        May write into `x`.
        """
        encoder = self.t5.encoder
        seeds, (begin, end, *_) = self.seeds(len(encoder.block), x.device)
        x = self._dropped(x, begin)
        mask = torch.zeros(x.shape[:2], device=x.device)
        if hypothesis is not None:
            mask[:, -hypothesis.shape[1] :].masked_fill_(hypothesis == self.special.pad, -1e9)
        mask = mask[:, None, None]
        bias = layers.position_bias(encoder, x.shape[1], x.device)
        with self._as_stored(x) as x:
            for block, seed in zip(encoder.block, seeds, strict=True):
                x = self.encoder_layer(x, bias, mask, self.heads, self.dropout, seed, self.training, weights_of(block))
            return self.leave(x, encoder.final_layer_norm.weight, self.dropout, end), mask

    def forward(
        self,
        target: Tensor,
        signals: Tensor,
        hypothesis: Tensor | None = None,
        embedding: Tensor | None = None,
    ) -> Tensor:
        """Mean cross-entropy in nats a token (the end counts as one) of `signals` `[N, L]`."""
        return self.loss(*self.encode(target, hypothesis, embedding), signals)

    def loss(self, states: Tensor, mask: Tensor, signals: Tensor) -> Tensor:
        """What `forward` gives, from what `encode` does."""
        lengths = (signals != self.special.pad).sum(1, keepdim=True)
        labels = torch.cat([signals, torch.full_like(signals[:, :1], self.special.pad)], 1)
        labels = labels.scatter(1, lengths, self.special.end)
        return self.token_loss(self.read(states, mask, signals), self.t5.lm_head.weight, labels, self.special.pad)

    def read(self, states: Tensor, mask: Tensor, signals: Tensor) -> Tensor:
        """Last hidden states `[N, L + 1, width]` before each token of `signals` `[N, L]` and after the last."""
        ids = torch.cat([torch.full_like(signals[:, :1], self.special.start), signals], 1)
        decoder = self.t5.decoder
        seeds, (begin, end, *_) = self.seeds(len(decoder.block), ids.device)
        x = self._dropped(_working(self.t5.shared(ids)), begin)
        bias = self.own_bias(x.shape[1])
        future = torch.ones(x.shape[1], x.shape[1], device=x.device, dtype=torch.bool).triu(1)
        bias = bias.masked_fill(future, -1e9)
        with self._as_stored(x) as x:
            for block, seed in zip(decoder.block, seeds, strict=True):
                x = self.decoder_layer(
                    x, bias, states, mask, self.heads, self.dropout, seed, self.training, weights_of(block)
                )
            return self.leave(x, decoder.final_layer_norm.weight * self.scale, self.dropout, end)

    def _dropped(self, x: Tensor, seed: Tensor | None) -> Tensor:
        # A compiled function that is first seen to do nothing is never compiled.
        return x if seed is None else self.drop(x, self.dropout, seed)

    def seeds(self, blocks: int, device: torch.device) -> tuple[Sequence[Tensor | None], Sequence[Tensor | None]]:
        """Those of the blocks' dropout, and of what is before and after them; None where there is no dropout."""
        if not (self.training and self.dropout):
            return [None] * blocks, [None] * 2
        # In fours, so that each row is as aligned as a compiled layer expects.
        rows = torch.randint(-(2**31), 2**31, (blocks + 1, 4), dtype=torch.int32, device=device).unbind()
        return rows[:-1], rows[-1].unbind()

    def start(self, states: Tensor, mask: Tensor, *, beams: int, length: int, follow: Follow | None = None) -> Cache:
        """An empty cache over encoder states `[R, S, width]` for `length` tokens of `beams` texts a row.

        With `follow` it serves `turn`s of that search, which may be recorded; without it `step`s.
        """
        cross = []
        for block in self.t5.decoder.block:
            attention = block.layer[1].EncDecAttention
            cross.append((split_heads(attention.k(states), self.heads), split_heads(attention.v(states), self.heads)))
        key = cross[0][0]
        granule, slots = 8 * beams, 1 + (length - 1) * beams  # all beams begin as one
        slots = -(-slots // granule) * granule
        places = (torch.arange(slots, device=key.device) + beams - 1) // beams
        lineage = torch.zeros(len(key), 1, slots, dtype=torch.bool, device=key.device)
        if follow is not None and self.records and records(self.t5.shared.weight, len(key), slots, beams):
            recording = self.recordings.take(self, follow, cross, mask, places, beams, length)
            if recording is not None:
                recording.read(cross, mask)
                weights, biases = recording.weights, recording.biases
                cache = Cache([], [], mask, places, lineage, beams, weights, biases, follow, recording)
                recording.user = weakref.ref(cache)
                return cache
        own = [tuple(key.new_zeros(len(key), self.heads, slots, key.shape[-1]) for _ in range(2)) for _ in cross]
        return Cache(own, cross, mask, places, lineage, beams, self.decoder_weights(), self.own_bias(length), follow)

    def turn(self, state: Any, cache: Cache) -> Any:
        """The state of the search that `cache` serves after one more token, until the next turn."""
        if cache.recording is not None:
            first = cache.length == 0
            if first:
                cache.recording.begin(state)
            cache.length += 1
            return cache.recording.turn(first)
        position = torch.full((1,), cache.length, device=cache.places.device)
        hidden = self.step(state.last, cache)
        state, parent = cache.follow(self, hidden, state, position, cache.beams, cache.length == 1)
        if parent is not None:
            cache.reorder(parent)
        return state

    def step(self, ids: Tensor, cache: Cache) -> Tensor:
        """Last hidden states `[R, beams, width]` after one more token `[R, beams]`; the cache grows by it."""
        beams, now = ids.shape[1], cache.length
        begin, filled = cache.filled, cache.filled + beams
        if cache.beams > 1:  # a lone beam has all of the past
            cache.lineage[:, :, begin:filled] = torch.eye(beams, dtype=torch.bool, device=ids.device)
        end = -(-filled // cache.granule) * cache.granule
        places = cache.places[:end]
        bias = cache.biases[:, :, now : now + 1, places.clamp_max(now)].masked_fill(places > now, -1e9)
        seen = None if beams == 1 else cache.lineage[:, :, :end]
        where = torch.arange(begin, filled, device=ids.device)
        hidden = self.decoded(ids, bias, seen, where, cache.own, cache.cross, cache.mask, cache.weights)
        cache.filled, cache.length = filled, cache.length + 1
        return hidden

    def decoder_weights(self) -> list[Weights]:
        """Of the decoder's blocks: to be looked up once a search, not once a token."""
        return [weights_of(block) for block in self.t5.decoder.block]

    def own_bias(self, length: int) -> Tensor:
        """Position biases of the decoder's attention to itself: `[1, H, length, length]`."""
        return layers.position_bias(self.t5.decoder, length, self.t5.shared.weight.device)

    def decoded(
        self,
        ids: Tensor,
        bias: Tensor,
        seen: Tensor | None,
        where: Tensor,
        own: Pairs,
        cross: Pairs,
        mask: Tensor,
        weights: list[Weights],
    ) -> Tensor:
        """What `step` does: keys and values go to the slots `where` of `own`; as many as `bias` has are read.

        `bias` and `seen` are as `grow` takes them, `weights` are the blocks'.
        """
        decoder = self.t5.decoder
        x, squares = _working(self.t5.shared(ids)), None
        with self._as_stored(x) as x:
            for block, (keys, values), pair in zip(weights, own, cross, strict=True):
                query, key, value = self.project(x, squares, self.heads, block)
                mixed = grow(query, key, value, keys, values, where, bias, seen)
                x, squares = self.finish(x, mixed, pair, mask, self.heads, block)
            return norm(decoder.final_layer_norm.weight * self.scale, x)

    def autocast(self) -> torch.autocast:
        """In bfloat16 on a GPU, and where weights are stored in it."""
        weight = self.t5.shared.weight
        half = weight.is_cuda or weight.dtype == torch.bfloat16
        return torch.autocast(weight.device.type, torch.bfloat16, enabled=half)

    @contextmanager
    def _as_stored(self, x: Tensor) -> Iterator[Tensor]:
        """`x`; in half precision and without autocast, which would take every norm out of it, if weights are too."""
        half = self.t5.shared.weight.dtype == torch.bfloat16
        with torch.autocast(x.device.type, enabled=False) if half else nullcontext():
            yield x.to(torch.bfloat16) if half else x

    def logits(self, hidden: Tensor) -> Tensor:
        """Of every token after hidden states `[..., width]`: `[..., V]`; padding and start get −∞."""
        logits = F.linear(hidden, self.t5.lm_head.weight)
        return logits.index_fill_(-1, self.never, -torch.inf)


class Student(nn.Module):
    """The layers that tell what the black box would answer to a text, learned from what it answered in training."""

    def __init__(self, t5: T5Config, layers: int, dimension: int) -> None:
        super().__init__()
        self.block = nn.ModuleList(T5Block(t5, has_relative_attention_bias=index == 0) for index in range(layers))
        self.final_layer_norm = T5LayerNorm(t5.d_model)
        self.say = nn.Linear(t5.d_model, dimension)


class InversionNetwork(T5Network):
    """See the module's docstring. `config` is a T5Config's dictionary with the embedder's vocabulary size.

    With `student` layers it also learns to answer as the black box does, so that a search can look at many more
    candidates than it asks the black box about.
    """

    def __init__(
        self,
        config: dict[str, Any],
        *,
        dimension: int,
        positions: int,
        hidden: int,
        special: Special,
        student: int = 0,
    ) -> None:
        super().__init__(config, dimension=dimension, special=special, tied=False)
        width = self.t5.config.d_model
        self.student = Student(self.t5.encoder.config, student, dimension) if student else None
        self.misses: list[Tensor] = []  # the student's, of the forward passes since somebody cleared them
        self.target = Projection(dimension, hidden, positions, width)
        self.hypothesis = Projection(dimension, hidden, positions, width)
        self.difference = Projection(dimension + 1, hidden, positions, width)
        self.noise = nn.Linear(2, hidden, bias=False)
        nn.init.zeros_(self.noise.weight)  # as if every target were exact, until training says otherwise

    def encode(
        self, target: Tensor, hypothesis: Tensor | None, embedding: Tensor | None, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `T5Network.encode`; `noise` `[N]` is the standard deviation of the error of a unit target's values.

        NaN is an unknown one; without `noise` all targets are exact.
        """
        unit = target.shape[-1] ** 0.5
        target = F.normalize(target, dim=-1)
        parts = [self.target(target * unit, None if noise is None else self.noise(features(noise)))]
        if hypothesis is not None and embedding is not None:
            embedding = F.normalize(embedding, dim=-1)
            gap = target - embedding
            size = gap.norm(dim=-1, keepdim=True).clamp_min(1e-4)
            parts += [
                self.hypothesis(embedding * unit),
                self.difference(torch.cat([gap / size * unit, size.log()], -1)),
                self.t5.shared(hypothesis),
            ]
        return self.encoded(torch.cat([part.to(parts[0].dtype) for part in parts], 1), hypothesis)

    def forward(
        self,
        target: Tensor,
        signals: Tensor,
        hypothesis: Tensor | None = None,
        embedding: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """See `T5Network.forward` and `encode`; with a student, 1 − cosine of its answer is added."""
        loss = self.loss(*self.encode(target, hypothesis, embedding, noise), signals)
        # A gradient of each parameter at each step, if only of zeros: several processes needn't look which have none.
        unread = [] if noise is not None else [self.noise]
        unread += [] if hypothesis is not None else [self.hypothesis, self.difference]
        if unread and torch.is_grad_enabled():
            loss = loss + 0 * sum(weight.sum() for part in unread for weight in part.parameters())
        if self.student is None:
            return loss
        asked, answer = (signals, target) if hypothesis is None or embedding is None else (hypothesis, embedding)
        miss = (1 - F.cosine_similarity(self.answers(asked), answer, dim=-1)).mean()
        self.misses.append(miss.detach())
        return loss + miss

    def answers(self, ids: Tensor) -> Tensor:
        """What the student expects the black box to answer to ids `[N, L]`: unit vectors `[N, D]` in float32."""
        if self.student is None:
            raise RuntimeError("this network has no student")
        inside = ids != self.special.pad
        x = _working(F.embedding(ids, self.t5.shared.weight.detach()))
        x = layers.encoder_states(self.student, x, inside, self.heads, self.encoder_layer, self.training).float()
        mean = (x * inside[..., None]).sum(1) / inside.sum(1, keepdim=True).clamp_min(1)
        say = self.student.say
        with torch.autocast(ids.device.type, enabled=False):  # small differences are what is asked for
            return F.normalize(F.linear(mean, say.weight.float(), say.bias.float()), dim=-1)


def _working(x: Tensor) -> Tensor:
    """`x` in autocast's precision, if that is on: the embedding lookup isn't one of its operations."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def stored_for(device: torch.device, network: nn.Module, *, exact: bool = False) -> None:
    """Store weights as inference on `device` reads them.

    In bfloat16 on a GPU, to which autocast and `norm` would round them at every use, and on a CPU where that is faster
    and `torch.set_float32_matmul_precision` has said "medium", or nothing and the network needn't be `exact`: with the
    scales of norms folded into the maps after them, and queries, keys and values side by side; position biases stay as
    they are. Else on a CPU by columns: products with few rows then read them in order, 15 % faster in all.
    """
    half = bfloat16_is_fast(device)
    if device.type == "cpu":
        half = half and torch.backends.mkldnn.matmul.fp32_precision in (("bf16",) if exact else ("bf16", "none"))
    blocks = [module for module in network.modules() if half and isinstance(module, T5Block)]
    for block in blocks:
        folded(block)
    for module in network.modules():
        if half and isinstance(module, nn.Linear | T5LayerNorm):
            module.to(torch.bfloat16)
        elif isinstance(module, nn.Linear) and device.type == "cpu":
            module.weight.data = module.weight.data.t().contiguous().t()
        if half and isinstance(module, T5Network):
            module.t5.shared.to(torch.bfloat16)
    for block in blocks:
        joined(block)
