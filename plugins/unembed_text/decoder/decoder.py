"""The decoder: it reads encoder states and writes token ids, a whole text at once in training and token by token.

`start` gives a cache, `step` writes a token into it, `advance` does so and lets a search choose what comes next.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import T5Config

from unembed_text.decoder.attention import cached_attention, split_heads
from unembed_text.decoder.blocks import Blocks, DecoderBlock, PositionBias
from unembed_text.decoder.cache import Cache, KeyValues, SlotLayout, StepWeights
from unembed_text.decoder.layers import EPSILON, Layers, as_stored, autocast_like, dropout_seeds, rms_norm

__all__ = ["Decoder", "Select", "Special"]

# What a search makes of a token's hidden states: `select(decoder, hidden, state, position, beams, first)` gives the new
# state and its texts' parents, the beams `[R, beams]` that they are children of: None if all stay where they are.
# `hidden` is `[R, B, width]`, `position` `[1]`, 0 where `first` says so. A state is a named tuple of tensors, rows
# first, with the tokens to read next as `last` `[R, B]`. The device is asked nothing, and a state is written into only
# where doing all of it again gives the same.
Select = Callable[["Decoder", Tensor, Any, Tensor, int, bool], tuple[Any, Tensor | None]]


@dataclass(frozen=True)
class Special:
    """The ids of padding, of what stands before every text, and of its end."""

    pad: int
    start: int
    end: int


class Decoder(nn.Module):
    """A T5's decoder with its token embedding and its output matrix.

    With `tied` the output matrix is the embedding's, and hidden states are scaled by width to the power −½ before it
    (Raffel et al. 2020; version 1.1 does neither).
    """

    never: Tensor

    def __init__(self, config: T5Config, special: Special, *, tied: bool) -> None:
        super().__init__()
        width, factor = config.d_model, config.initializer_factor
        self.special, self.tied = special, tied
        self.heads, self.dropout = config.num_heads, float(config.dropout_rate)
        self.scale = width**-0.5 if tied else 1.0
        self.token_embed = nn.Embedding(config.vocab_size, width)
        nn.init.normal_(self.token_embed.weight, std=factor)
        self.position_bias = PositionBias(config, causal=True)
        self.blocks = Blocks(DecoderBlock(config) for _ in range(config.num_decoder_layers))
        self.norm = nn.RMSNorm(width, eps=EPSILON)
        nn.init.constant_(self.norm.weight, factor)
        self.lm_head = nn.Linear(width, config.vocab_size, bias=False)
        nn.init.normal_(self.lm_head.weight, std=0.5)
        self.tie()
        never = torch.tensor([special.pad, special.start], device="cpu")  # also where the rest has no storage yet
        self.register_buffer("never", never, persistent=False)
        self.layers = Layers()

    def tie(self) -> None:
        """Make the output matrix the embedding's, where the two are one: after either was replaced."""
        if self.tied:
            self.lm_head.weight = self.token_embed.weight

    def read(self, states: Tensor, mask: Tensor, signals: Tensor) -> Tensor:
        """Last hidden states `[N, L + 1, width]` before each token of `signals` `[N, L]` and after the last.

        `states` `[N, S, width]` are the encoder's, under the additive `mask` `[N, 1, 1, S]`.
        """
        ids = torch.cat([torch.full_like(signals[:, :1], self.special.start), signals], 1)
        active = self.training and self.dropout > 0
        begin, each, end = dropout_seeds(len(self.blocks), ids.device, active=active)
        x = autocast_like(self.token_embed(ids))
        if begin is not None:  # a compiled function that is first seen to do nothing is never compiled
            x = self.layers.drop(x, self.dropout, begin)
        bias = self.position_bias(x.shape[1])
        future = torch.ones(x.shape[1], x.shape[1], device=x.device, dtype=torch.bool).triu(1)
        bias = bias.masked_fill(future, -1e9)
        with as_stored(x, self.token_embed.weight) as x:
            for block, seed in zip(self.blocks, each, strict=True):
                x = self.layers.decoder_block(
                    x, bias, states, mask, self.heads, self.dropout, seed, self.training, block.weights()
                )
            return self.layers.final_norm(x, self.norm.weight * self.scale, self.dropout, end)

    def loss(self, states: Tensor, mask: Tensor, signals: Tensor) -> Tensor:
        """Mean cross-entropy in nats per token (the end counts as one) of `signals` `[N, L]`; see `read`."""
        lengths = (signals != self.special.pad).sum(1, keepdim=True)
        labels = torch.cat([signals, torch.full_like(signals[:, :1], self.special.pad)], 1)
        labels = labels.scatter(1, lengths, self.special.end)
        hidden = self.read(states, mask, signals)
        return self.layers.token_loss(hidden, self.lm_head.weight, labels, self.special.pad)

    def logits(self, hidden: Tensor) -> Tensor:
        """Of every token after hidden states `[..., width]`: `[..., V]`; padding and start get −∞."""
        logits = F.linear(hidden, self.lm_head.weight)
        return logits.index_fill_(-1, self.never, -torch.inf)

    def start(self, states: Tensor, mask: Tensor, *, beams: int, length: int) -> Cache:
        """An empty cache over encoder states `[R, S, width]` for `length` tokens of `beams` texts a row."""
        layout, cross_kv = SlotLayout(beams, length), self.cross_kv(states)
        key, _ = cross_kv[0]
        shape = len(key), self.heads, layout.slots, key.shape[-1]
        return Cache(
            layout=layout,
            self_kv=[(key.new_zeros(shape), key.new_zeros(shape)) for _ in cross_kv],
            cross_kv=cross_kv,
            mask=mask,
            ancestry=torch.zeros(len(key), 1, layout.slots, dtype=torch.bool, device=key.device),
            positions=layout.positions(key.device),
            weights=self.step_weights(length),
        )

    def step(self, ids: Tensor, cache: Cache) -> Tensor:
        """Last hidden states `[R, beams, width]` after one more token `[R, beams]`; the cache grows by it."""
        beams, now = ids.shape[1], cache.length
        begin, filled = cache.filled, cache.filled + beams
        if cache.layout.beams > 1:  # a lone beam has all of the past
            cache.ancestry[:, :, begin:filled] = torch.eye(beams, dtype=torch.bool, device=ids.device)
        end = cache.layout.up_to_block(filled)
        positions = cache.positions[:end]
        bias = cache.weights.bias[:, :, now : now + 1, positions.clamp_max(now)].masked_fill(positions > now, -1e9)
        ancestry = None if beams == 1 else cache.ancestry[:, :, :end]
        hidden = self.decode(ids, cache, bias, torch.arange(begin, filled, device=ids.device), ancestry)
        cache.filled, cache.length = filled, cache.length + 1
        return hidden

    def advance(self, state: Any, cache: Cache, select: Select) -> Any:
        """The state of a search after one more token: a `step`, and what `select` makes of it."""
        position, first = torch.full((1,), cache.length, device=cache.positions.device), cache.length == 0
        hidden = self.step(state.last, cache)
        state, parent = select(self, hidden, state, position, cache.layout.beams, first)
        if parent is not None:
            cache.reorder(parent)
        return state

    def decode(self, ids: Tensor, cache: Cache, bias: Tensor, where: Tensor, ancestry: Tensor | None) -> Tensor:
        """What `step` does to the buffers of `cache`: keys and values of the tokens `ids` go to the slots `where`.

        As many slots are read as `bias` has. It and `ancestry` are as `cached_attention` takes them.
        """
        x, squares = autocast_like(self.token_embed(ids)), None
        with as_stored(x, self.token_embed.weight) as x:
            for block, own, cross_kv in zip(cache.weights.blocks, cache.self_kv, cache.cross_kv, strict=True):
                query, key, value = self.layers.decode_qkv(x, squares, self.heads, block)
                mixed = cached_attention(query, key, value, *own, where, bias, ancestry)
                x, squares = self.layers.decode_mlp(x, mixed, cross_kv, cache.mask, self.heads, block)
            return rms_norm(self.norm.weight * self.scale, x)

    def cross_kv(self, states: Tensor) -> KeyValues:
        """Keys and values `[R, H, S, d]` of each block's attention to encoder states `[R, S, width]`."""
        own = [block.cross_attention for block in self.blocks]
        heads = self.heads
        return [(split_heads(x.k_proj(states), heads), split_heads(x.v_proj(states), heads)) for x in own]

    def step_weights(self, length: int) -> StepWeights:
        """Of steps up to `length` tokens."""
        return StepWeights([block.weights() for block in self.blocks], self.position_bias(length))
