"""The encoder-decoder that guesses and corrects: a T5 whose encoder reads embeddings and a hypothesis.

One network has both roles (Morris et al. 2023, section 4, has two): with no hypothesis the encoder reads the
target alone; with one it reads the target, the hypothesis's embedding, their difference and the hypothesis's
tokens. The weights live in transformers' T5 modules; the forward passes here are ours, since speed is the
point: one code path for training and for cached generation, no masks where there is no padding.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import T5Config, T5ForConditionalGeneration

__all__ = ["Cache", "InversionNetwork", "Projection", "Special", "T5Network"]

EMBEDDING_RMS = 13.5  # of the pretrained token embeddings, which the condition vectors join


@dataclass(frozen=True)
class Special:
    """The embedder's own special ids: padding, the decoder's start, its end."""

    pad: int
    start: int
    end: int


@dataclass
class Cache:
    """Keys and values of the decoder: its own, and the encoder's, one pair a layer.

    Beams of a row share its buffers: a slot holds one token of one beam, and `lineage` says which slots are
    a beam's own past. So beams that change places move no keys or values.
    """

    own: list[tuple[Tensor, Tensor]]  # [R, H, slots, d], filled from the left
    cross: list[tuple[Tensor, Tensor]]  # [R, H, S, d]
    mask: Tensor  # [R, 1, 1, S] additive
    places: Tensor  # [slots], the position of each slot
    lineage: Tensor  # [R, beams so far, slots] bool
    granule: int  # slots are attended to in multiples of so many
    filled: int = 0
    length: int = 0

    def reorder(self, parent: Tensor) -> None:
        """Beam i of each row becomes a child of beam `parent[row, i]`; `parent` is `[R, beams]`."""
        self.lineage = self.lineage.gather(1, parent[..., None].expand(-1, -1, self.lineage.shape[2]))

    def keep(self, rows: Tensor) -> None:
        """Drop the rows that the mask `[R]` leaves out."""
        self.own = [(key[rows], value[rows]) for key, value in self.own]
        self.cross = [(key[rows], value[rows]) for key, value in self.cross]
        self.mask = self.mask[rows]
        self.lineage = self.lineage[rows]


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

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(F.gelu(self.enter(x))).unflatten(-1, (self.positions, -1))


class T5Network(nn.Module, ABC):
    """A T5 that reads what a subclass makes of embeddings and a hypothesis, and writes signals.

    `config` is a T5Config's dictionary. With `tied` the output matrix is the token embedding's, and the decoder's
    states are scaled by width to the power −½ before it (Raffel et al. 2020; version 1.1 does neither).
    """

    def __init__(self, config: dict[str, Any], *, dimension: int, special: Special, tied: bool) -> None:
        super().__init__()
        t5 = T5Config(**config)
        if t5.dense_act_fn not in ("relu", "gelu_new"):
            raise ValueError(f"T5 layers come with relu or gated-gelu; this one has {t5.feed_forward_proj!r}")
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
        self.encoder_layer = _encoder_layer
        self.decoder_layer = _decoder_layer
        self.token_loss = _token_loss
        self.project = _project
        self.finish = _finish
        self.pick = _pick

    def compile_layers(self) -> None:
        """Compile what repeats: the layers, the loss and the halves of a decoding step."""
        # Training, evaluation, first guesses and corrections each have a variant of the one layer.
        torch._dynamo.config.recompile_limit = 32
        for name in ("encoder_layer", "decoder_layer", "token_loss", "project", "finish", "pick"):
            setattr(self, name, torch.compile(getattr(self, name)))

    @abstractmethod
    def encode(self, target: Tensor, hypothesis: Tensor | None, embedding: Tensor | None) -> tuple[Tensor, Tensor]:
        """Encoder states `[N, S, width]` and the additive mask `[N, 1, 1, S]` of the hypothesis's padding.

        `target` and `embedding` are `[N, D]`, `hypothesis` ids `[N, L]`; the last two come together or not.
        """

    def encoded(self, x: Tensor, hypothesis: Tensor | None) -> tuple[Tensor, Tensor]:
        """States and mask of inputs `[N, S, width]` that end in those of `hypothesis`, if there is one."""
        x = F.dropout(x, self.dropout, self.training)
        mask = torch.zeros(x.shape[:2], device=x.device)
        if hypothesis is not None:
            mask[:, -hypothesis.shape[1] :].masked_fill_(hypothesis == self.special.pad, -1e9)
        mask = mask[:, None, None]
        encoder = self.t5.encoder
        attention = encoder.block[0].layer[0].SelfAttention
        bias = attention.compute_bias(x.shape[1], x.shape[1], device=x.device) + mask
        for block in encoder.block:
            x = self.encoder_layer(x, bias, self.heads, self.dropout, self.training, _weights(block))
        return F.dropout(_norm(encoder.final_layer_norm.weight, x), self.dropout, self.training), mask

    def forward(
        self,
        target: Tensor,
        signals: Tensor,
        hypothesis: Tensor | None = None,
        embedding: Tensor | None = None,
    ) -> Tensor:
        """Mean cross-entropy in nats a token (the end counts as one) of `signals` `[N, L]`."""
        lengths = (signals != self.special.pad).sum(1, keepdim=True)
        labels = torch.cat([signals, torch.full_like(signals[:, :1], self.special.pad)], 1)
        labels = labels.scatter(1, lengths, self.special.end)
        states, mask = self.encode(target, hypothesis, embedding)
        return self.token_loss(self.read(states, mask, signals), self.t5.lm_head.weight, labels, self.special.pad)

    def read(self, states: Tensor, mask: Tensor, signals: Tensor) -> Tensor:
        """Last hidden states `[N, L + 1, width]` before each token of `signals` `[N, L]` and after the last."""
        ids = torch.cat([torch.full_like(signals[:, :1], self.special.start), signals], 1)
        x = F.dropout(_working(self.t5.shared(ids)), self.dropout, self.training)
        decoder = self.t5.decoder
        bias = decoder.block[0].layer[0].SelfAttention.compute_bias(x.shape[1], x.shape[1], device=x.device)
        future = torch.ones(x.shape[1], x.shape[1], device=x.device, dtype=torch.bool).triu(1)
        bias = bias.masked_fill(future, -1e9)
        for block in decoder.block:
            x = self.decoder_layer(x, bias, states, mask, self.heads, self.dropout, self.training, _weights(block))
        return F.dropout(_norm(decoder.final_layer_norm.weight * self.scale, x), self.dropout, self.training)

    def start(self, states: Tensor, mask: Tensor, *, beams: int, length: int) -> Cache:
        """An empty cache over encoder states `[R, S, width]` for `length` tokens of `beams` texts a row."""
        cross = []
        for block in self.t5.decoder.block:
            attention = block.layer[1].EncDecAttention
            cross.append((_heads(attention.k(states), self.heads), _heads(attention.v(states), self.heads)))
        key = cross[0][0]
        granule = 8 * beams  # few different shapes, with sides that matrix units like
        slots = 1 + (length - 1) * beams  # all beams begin as one
        slots = -(-slots // granule) * granule
        own = [tuple(key.new_zeros(len(key), self.heads, slots, key.shape[-1]) for _ in range(2)) for _ in cross]
        places = (torch.arange(slots, device=key.device) + beams - 1) // beams
        lineage = torch.zeros(len(key), 1, slots, dtype=torch.bool, device=key.device)
        return Cache(own=own, cross=cross, mask=mask, places=places, lineage=lineage, granule=granule)

    def step(self, ids: Tensor, cache: Cache) -> Tensor:
        """Last hidden states `[R, beams, width]` after one more token `[R, beams]`; the cache grows by it."""
        decoder = self.t5.decoder
        beams = ids.shape[1]
        x = _working(self.t5.shared(ids))
        first = decoder.block[0].layer[0].SelfAttention
        bias = first.compute_bias(1, cache.length + 1, device=x.device, past_seen_tokens=cache.length)
        begin, filled = cache.filled, cache.filled + beams
        cache.lineage[:, :, begin:filled] = torch.eye(beams, dtype=torch.bool, device=x.device)
        end = -(-filled // cache.granule) * cache.granule
        bias = bias[..., cache.places[:end].clamp_max(cache.length)]
        bias = bias.masked_fill(~cache.lineage[:, None, :, :end], -1e9)
        for block, (keys, values), cross in zip(decoder.block, cache.own, cache.cross, strict=True):
            weights = _weights(block)
            query, keys[:, :, begin:filled], values[:, :, begin:filled] = self.project(x, self.heads, weights[:4])
            own = keys[:, :, :end], values[:, :, :end]
            x = self.finish(x, query, own, bias, cross, cache.mask, self.heads, weights[4:])
        cache.filled, cache.length = filled, cache.length + 1
        return _norm(decoder.final_layer_norm.weight * self.scale, x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Of every token after hidden states `[..., width]`, as float32 `[..., V]`; padding and start get −∞."""
        logits = F.linear(hidden, self.t5.lm_head.weight).float()
        return logits.index_fill_(-1, self.never, -torch.inf)


class InversionNetwork(T5Network):
    """See the module's docstring. `config` is a T5Config's dictionary with the embedder's vocabulary size."""

    def __init__(
        self, config: dict[str, Any], *, dimension: int, positions: int, hidden: int, special: Special
    ) -> None:
        super().__init__(config, dimension=dimension, special=special, tied=False)
        width = self.t5.config.d_model
        self.target = Projection(dimension, hidden, positions, width)
        self.hypothesis = Projection(dimension, hidden, positions, width)
        self.difference = Projection(dimension + 1, hidden, positions, width)

    def encode(self, target: Tensor, hypothesis: Tensor | None, embedding: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `T5Network.encode`."""
        unit = target.shape[-1] ** 0.5
        target = F.normalize(target, dim=-1)
        parts = [self.target(target * unit)]
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


def _norm(weight: Tensor, x: Tensor) -> Tensor:
    return F.rms_norm(x.float(), (x.shape[-1],), weight, 1e-6).to(x.dtype)


def _working(x: Tensor) -> Tensor:
    """`x` in autocast's precision, if that is on: the embedding lookup isn't one of its operations."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def _heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _merge(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    # T5 doesn't scale the scores; its initialisation does.
    if query.shape[2] == 1:
        # Products of one row each leave a GPU idle; fused, these sums read every key and value once.
        scores = (query.float() * key.float()).sum(-1)[:, :, None]
        mixed = (scores + bias).softmax(-1).transpose(-1, -2) * value.float()
        return mixed.sum(2, keepdim=True).to(value.dtype)
    length = query.shape[2]
    if query.is_cuda:
        query, key, value, bias = _aligned(query, key, value, bias)
    scores = (query @ key.transpose(-1, -2)).float() + bias
    return (scores.softmax(-1).to(value.dtype) @ value)[:, :, :length]


def _aligned(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    """The same attention with both lengths rounded up to multiples of 8, which matrix units want."""
    rows, columns = -query.shape[2] % 8, -key.shape[2] % 8
    query = F.pad(query, (0, 0, 0, rows))
    key, value = (F.pad(x, (0, 0, 0, columns)) for x in (key, value))
    bias = F.pad(bias, (0, columns), value=-1e9)
    return query, key, value, bias if bias.shape[2] == 1 else F.pad(bias, (0, 0, 0, rows))


def _linears(x: Tensor, weights: Sequence[Tensor], together: bool) -> Sequence[Tensor]:
    """Linear maps of one input; `together` as one product, which pays where there are many rows."""
    if not together:
        return [F.linear(x, weight) for weight in weights]
    return F.linear(x, torch.cat(list(weights))).split([len(weight) for weight in weights], -1)


def _feed(x: Tensor, weights: Sequence[Tensor], training: bool = False) -> Tensor:
    norm, *parts = weights
    if len(parts) == 2:  # T5's first version
        return F.linear(F.relu(F.linear(_norm(norm, x), parts[0])), parts[1])
    enter, gate, leave = parts
    enter, gate = _linears(_norm(norm, x), (enter, gate), training)
    return F.linear(F.gelu(enter, approximate="tanh") * gate, leave)


def _project(x: Tensor, heads: int, weights: Sequence[Tensor], training: bool = False) -> tuple[Tensor, ...]:
    norm, *parts = weights
    return tuple(_heads(part, heads) for part in _linears(_norm(norm, x), parts, training))


def _own(x: Tensor, bias: Tensor, heads: int, rate: float, training: bool, weights: Sequence[Tensor]) -> Tensor:
    y = F.linear(_merge(_attend(*_project(x, heads, weights[:4], training), bias)), weights[4])
    return x + F.dropout(y, rate, training)


def _encoder_layer(
    x: Tensor, bias: Tensor, heads: int, rate: float, training: bool, weights: Sequence[Tensor]
) -> Tensor:
    x = _own(x, bias, heads, rate, training, weights[:5])
    return x + F.dropout(_feed(x, weights[5:], training), rate, training)


def _decoder_layer(
    x: Tensor,
    bias: Tensor,
    states: Tensor,
    mask: Tensor,
    heads: int,
    rate: float,
    training: bool,
    weights: Sequence[Tensor],
) -> Tensor:
    x = _own(x, bias, heads, rate, training, weights[:5])
    norm, q, k, v, leave = weights[5:10]
    query = _heads(F.linear(_norm(norm, x), q), heads)
    key, value = (_heads(part, heads) for part in _linears(states, (k, v), training))
    x = x + F.dropout(F.linear(_merge(_attend(query, key, value, mask)), leave), rate, training)
    return x + F.dropout(_feed(x, weights[10:], training), rate, training)


def _finish(
    x: Tensor,
    query: Tensor,
    own: tuple[Tensor, Tensor],
    bias: Tensor,
    cross: tuple[Tensor, Tensor],
    mask: Tensor,
    heads: int,
    weights: Sequence[Tensor],
) -> Tensor:
    """A decoding step's layer after `_project`; beams stand where positions stand in training."""
    x = x + F.linear(_merge(_attend(query, *own, bias)), weights[0])
    norm, q, _, _, leave = weights[1:6]
    query = _heads(F.linear(_norm(norm, x), q), heads)
    x = x + F.linear(_merge(_attend(query, *cross, mask)), leave)
    return x + _feed(x, weights[6:])


def _weights(block: nn.Module) -> list[Tensor]:
    """The tensors of a T5 block in the order in which the layers above take them."""
    found = []
    for layer in block.layer:
        attention = getattr(layer, "SelfAttention", None) or getattr(layer, "EncDecAttention", None)
        if attention is not None:
            parts = (attention.q, attention.k, attention.v, attention.o)
        else:
            parts = [part for part in layer.DenseReluDense.children() if isinstance(part, nn.Linear)]
        found += [layer.layer_norm.weight, *(part.weight for part in parts)]
    return found


def _logits(x: Tensor, weight: Tensor) -> Tensor:
    # Matrix units want sides that are multiples of 8, which a vocabulary rarely is: the rest gets no probability.
    size = len(weight)
    logits = F.linear(x, F.pad(weight, (0, 0, 0, -size % 8))).float()
    return logits.masked_fill(torch.arange(logits.shape[-1], device=x.device) >= size, -1e9)


def _token_loss(x: Tensor, weight: Tensor, labels: Tensor, pad: int) -> Tensor:
    return F.cross_entropy(_logits(x.flatten(0, 1), weight), labels.flatten(), ignore_index=pad)


def _pick(hidden: Tensor, weight: Tensor, banned: Tensor, temperature: Tensor, noise: Tensor) -> Tensor:
    """Sample a token a row by the Gumbel maximum; row i takes the noise of row i modulo its count."""
    logits = _logits(hidden, weight)[..., : len(weight)] + banned
    shared = noise[torch.arange(len(hidden), device=hidden.device) % len(noise)]
    return (logits + temperature[:, None] * shared).argmax(-1)
