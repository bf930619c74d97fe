"""A Llama's forward passes (Touvron et al. 2023), written for many short rows after one beginning.

One function makes every layer, so that compiling it once compiles all; keys and values go where they stay.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed_lm.embedders.passes import Passes

__all__ = ["LlamaPasses"]


class LayerWeights(NamedTuple):
    """Of one layer; what reads the same is side by side."""

    first_norm: Tensor
    qkv: Tensor
    out: Tensor
    second_norm: Tensor
    gate_up: Tensor
    down: Tensor


class Kept(NamedTuple):
    """Keys and values `[R, H, S, d]` of each layer, and which of the S each row may see, `[R, S]`."""

    layers: list[tuple[Tensor, Tensor]]
    seen: Tensor
    filled: list[int]  # how many of the S are taken


class LlamaPasses(Passes):
    """See `Passes` and the module's docstring."""

    begins = True

    def __init__(self, model: Any, before: Tensor) -> None:
        base, config = model.model, model.config
        self.before = before
        self.heads, self.groups = config.num_attention_heads, config.num_key_value_heads
        self.size = config.head_dim or config.hidden_size // self.heads
        self.epsilon = float(config.rms_norm_eps)
        self.embed, self.norm = base.embed_tokens.weight, base.norm.weight
        self.layers = [_weights(layer) for layer in base.layers]
        angle = torch.arange(config.max_position_embeddings, device=before.device)[:, None].float()
        angle = angle * base.rotary_emb.inv_freq.float().to(before.device)
        self.rotation = torch.stack([angle.cos(), angle.sin()]).to(self.embed.dtype)  # [2, positions, d / 2]
        self.layer: Callable[..., tuple[Tensor, Tensor, Tensor]] = _layer
        self.step: Callable[..., Tensor] = _step
        self.prefix: list[tuple[Tensor, Tensor]] = []
        if len(before):
            with torch.no_grad():
                self.prefix = self._pass(before[None], [])[1]

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether a model of transformers is such a Llama; those with scaled rotations, as Llama 3.1, are not."""
        config = model.config
        rope = getattr(config, "rope_parameters", None) or {}
        return (
            config.model_type == "llama"
            and rope.get("rope_type", "default") == "default"
            and config.hidden_act == "silu"
            and not (config.attention_bias or config.mlp_bias)
        )

    def compile(self, backend: str = "inductor") -> None:
        """Compile the layers, for training, where queries come by the million; `backend` is one of torch's."""
        # What changes from call to call, rows and lengths, is found to; weights and heads keep their sizes.
        self.layer = torch.compile(_layer, backend=backend)
        self.step = torch.compile(_step, backend=backend)

    def read(self, ids: Tensor, sizes: Tensor, more: int = 0) -> tuple[Tensor, Any]:
        """See `Passes`."""
        states, layers = self._pass(ids, self.prefix)
        if not more:
            return states, None
        seen = torch.arange(ids.shape[1], device=ids.device) < sizes[:, None]
        return states, self._kept(layers, seen, more)

    def write(self, token: Tensor, position: Tensor, kept: Kept) -> Tensor:
        """See `Passes`."""
        place = kept.filled[0]
        kept.seen[:, place] = True
        kept.filled[0] = place + 1
        mask = kept.seen[:, None, None, : place + 1]
        turn = self.rotation[:, position][:, :, None, None]  # [2, R, 1, 1, d / 2]
        x = F.embedding(token, self.embed)[:, None]
        for weights, (keys, values) in zip(self.layers, kept.layers, strict=True):
            x = self.step(x, turn, keys, values, place, mask, weights, self.heads, self.groups, self.epsilon)
        return _normed(x, self.norm, self.epsilon)[:, 0]

    def begin(self, rows: int, more: int) -> Any:
        """See `Passes`."""
        size = len(self.before) - 1
        layers = [(keys[:, :, :size], values[:, :, :size]) for keys, values in self.prefix]
        return self._kept(layers, self.before.new_ones(rows, 0, dtype=torch.bool), more, rows=rows, own=False)

    def _pass(self, ids: Tensor, prefix: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """States of ids `[R, L]` after a prefix, and their own keys and values."""
        begin, length = prefix[0][0].shape[2] if prefix else 0, ids.shape[1]
        turn = self.rotation[:, None, None, begin : begin + length]
        future = torch.ones(length, begin + length, dtype=torch.bool, device=ids.device).tril(begin)
        none = self.embed.new_zeros(1, self.groups, 0, self.size)
        x, made = F.embedding(ids, self.embed), []
        for index, weights in enumerate(self.layers):
            before = prefix[index] if prefix else (none, none)
            x, keys, values = self.layer(x, turn, *before, future, weights, self.heads, self.groups, self.epsilon)
            made.append((keys, values))
        return _normed(x, self.norm, self.epsilon), made

    def _kept(
        self, layers: list[tuple[Tensor, Tensor]], seen: Tensor, more: int, *, rows: int = 0, own: bool = True
    ) -> Kept:
        """Room for `more` tokens after the prefix and what was read of each row."""
        rows = rows or len(seen)
        filled = layers[0][0].shape[2] + (len(self.before) if own else 0)
        kept = []
        for index, (keys, values) in enumerate(layers):
            pair = []
            for which, part in enumerate((keys, values)):
                room = part.new_empty(rows, self.groups, filled + more, self.size)
                if own and self.prefix:
                    room[:, :, : len(self.before)] = self.prefix[index][which]
                room[:, :, filled - part.shape[2] : filled] = part
                pair.append(room)
            kept.append((pair[0], pair[1]))
        begun = torch.ones(rows, filled - seen.shape[1], dtype=torch.bool, device=seen.device)
        later = torch.zeros(rows, more, dtype=torch.bool, device=seen.device)
        return Kept(kept, torch.cat([begun, seen, later], 1), [filled])


def _layer(
    x: Tensor,
    turn: Tensor,
    before_keys: Tensor,
    before_values: Tensor,
    allowed: Tensor,
    weights: LayerWeights,
    heads: int,
    groups: int,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """A layer over rows `[R, L, width]` after keys and values of a prefix `[1, H, P, d]`; its own keys and values."""
    query, keys, values = _qkv(x, turn, weights, heads, groups, epsilon)
    rows = len(x)
    all_keys = torch.cat([before_keys.expand(rows, -1, -1, -1), keys], 2)
    all_values = torch.cat([before_values.expand(rows, -1, -1, -1), values], 2)
    mixed = _attention(query, all_keys, all_values, allowed, heads // groups)
    return _rest(x, mixed, weights, epsilon), keys, values


def _step(
    x: Tensor,
    turn: Tensor,
    keys: Tensor,
    values: Tensor,
    place: int,
    mask: Tensor,
    weights: LayerWeights,
    heads: int,
    groups: int,
    epsilon: float,
) -> Tensor:
    """A layer over one token a row `[R, 1, width]`, whose key and value go to `place`."""
    query, key, value = _qkv(x, turn, weights, heads, groups, epsilon)
    keys[:, :, place : place + 1] = key
    values[:, :, place : place + 1] = value
    # Heads that share keys read them as more queries: nothing is repeated.
    grouped = query.unflatten(1, (groups, -1)).squeeze(3)  # [R, H, heads a group, d]
    seen = keys[:, :, : place + 1], values[:, :, : place + 1]
    mixed = F.scaled_dot_product_attention(grouped, *seen, attn_mask=mask.expand(-1, groups, grouped.shape[2], -1))
    return _rest(x, mixed.flatten(1, 2)[:, :, None], weights, epsilon)


def _qkv(
    x: Tensor, turn: Tensor, weights: LayerWeights, heads: int, groups: int, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries `[R, heads, L, d]`, keys and values `[R, groups, L, d]`, turned by their positions."""
    made = F.linear(_normed(x, weights.first_norm, epsilon), weights.qkv)
    size = made.shape[-1] // (heads + 2 * groups)
    made = made.unflatten(-1, (-1, size)).transpose(1, 2)
    query, keys, values = made.split([heads, groups, groups], 1)
    return _turned(query, turn), _turned(keys, turn), values


def _turned(x: Tensor, turn: Tensor) -> Tensor:
    cos, sin = turn.unbind()
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def _attention(query: Tensor, keys: Tensor, values: Tensor, allowed: Tensor, repeat: int) -> Tensor:
    keys, values = (part.repeat_interleave(repeat, 1) for part in (keys, values))
    return F.scaled_dot_product_attention(query, keys, values, attn_mask=allowed)


def _rest(x: Tensor, mixed: Tensor, weights: LayerWeights, epsilon: float) -> Tensor:
    """What a layer makes of the mixed values `[R, heads, L, d]` of its attention."""
    x = x + F.linear(mixed.transpose(1, 2).flatten(2), weights.out)
    gate, up = F.linear(_normed(x, weights.second_norm, epsilon), weights.gate_up).chunk(2, -1)
    return x + F.linear(F.silu(gate) * up, weights.down)


def _normed(x: Tensor, scale: Tensor, epsilon: float) -> Tensor:
    wide = x.float()
    return scale * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)).to(x.dtype)


def _weights(layer: Any) -> LayerWeights:
    attention, mlp = layer.self_attn, layer.mlp
    return LayerWeights(
        layer.input_layernorm.weight,
        torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]),
        attention.o_proj.weight,
        layer.post_attention_layernorm.weight,
        torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]),
        mlp.down_proj.weight,
    )
