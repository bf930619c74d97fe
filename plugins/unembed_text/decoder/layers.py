"""A T5's layers as functions of tensors, so that one compilation of each serves all blocks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed_text import kernels
from unembed_text.decoder.attention import attend, cross_attention, merge_heads, self_attention, split_heads

__all__ = [
    "EPSILON",
    "CrossAttentionWeights",
    "DecoderWeights",
    "EncoderWeights",
    "Layers",
    "MLPWeights",
    "Seeds",
    "SelfAttentionWeights",
    "as_stored",
    "autocast_like",
    "compiled_layers",
    "decode_mlp",
    "decode_qkv",
    "decoder_block",
    "drop",
    "dropout_seeds",
    "encoder_block",
    "final_norm",
    "relu_linear",
    "rms_norm",
    "sample_token",
    "token_loss",
]

EPSILON = 1e-6  # of T5's norms


class SelfAttentionWeights(NamedTuple):
    """Matrices are `[outputs, inputs]`; a norm is None where the maps after it have taken over its scale."""

    norm: Tensor | None
    qkv: tuple[Tensor, ...]  # of queries, keys and values, or one of them all
    out: Tensor


class CrossAttentionWeights(NamedTuple):
    """See `SelfAttentionWeights`; keys and values are made of the encoder's states, which have a norm of their own."""

    norm: Tensor | None
    q: Tensor
    kv: tuple[Tensor, Tensor]
    out: Tensor


class MLPWeights(NamedTuple):
    """See `SelfAttentionWeights`."""

    norm: Tensor | None
    fc1: tuple[Tensor, ...]  # the gate before the map that it opens, or one map, which is rectified
    fc2: Tensor


class EncoderWeights(NamedTuple):
    """Of a block of the encoder."""

    attention: SelfAttentionWeights
    mlp: MLPWeights


class DecoderWeights(NamedTuple):
    """Of a block of the decoder."""

    attention: SelfAttentionWeights
    cross_attention: CrossAttentionWeights
    mlp: MLPWeights


class Seeds(NamedTuple):
    """Of a stack's dropout: of what goes in, of each block, of what comes out; None where nothing is dropped."""

    begin: Tensor | None
    blocks: Sequence[Tensor | None]
    end: Tensor | None


def dropout_seeds(blocks: int, device: torch.device, *, active: bool) -> Seeds:
    """Fresh int32 seeds from torch's generator, or none."""
    if not active:
        return Seeds(None, [None] * blocks, None)
    # In fours, so that each row is as aligned as a compiled layer expects.
    rows = torch.randint(-(2**31), 2**31, (blocks + 1, 4), dtype=torch.int32, device=device).unbind()
    begin, end, *_ = rows[-1].unbind()
    return Seeds(begin, rows[:-1], end)


def rms_norm(weight: Tensor | None, x: Tensor) -> Tensor:
    """T5's layer norm: by the root of the mean square, which torch takes in float32."""
    return F.rms_norm(x, (x.shape[-1],), None if weight is None else weight.to(x.dtype), EPSILON)


def drop(x: Tensor, rate: float, seed: Tensor | None) -> Tensor:
    """Dropout by `seed`, an int32 scalar on the device; without one `x` itself.

    Its random bits are a hash of each number's place (the finalizer `lowbias32` of Wellons, *Prospecting for hash
    functions*, 2018), ten operations where a generator such as Philox takes a hundred.
    """
    if seed is None:
        return x
    bits = torch.arange(x.numel(), dtype=torch.int32, device=x.device).view(x.shape) ^ seed
    bits = (bits ^ ((bits >> 16) & 0xFFFF)) * 2146121005
    bits = (bits ^ ((bits >> 15) & 0x1FFFF)) * -2073254261
    bits = (bits ^ ((bits >> 16) & 0xFFFF)) & 0x7FFFFFFF
    return torch.where(bits >= int(rate * 2**31), x * (1 / (1 - rate)), 0)


def final_norm(x: Tensor, scale: Tensor, rate: float, seed: Tensor | None) -> Tensor:
    """The last norm of a stack, with dropout."""
    return drop(rms_norm(scale, x), rate, seed)


def encoder_block(
    x: Tensor,
    bias: Tensor,
    mask: Tensor,
    heads: int,
    rate: float,
    seeds: Tensor | None,
    training: bool,
    weights: EncoderWeights,
) -> Tensor:
    """States `[N, S, width]` after one block; `bias` and `mask` as `self_attention` takes them, `seeds` as `drop`.

    May write into `x`.
    """
    first, second, *_ = _each(seeds)
    own, mlp = weights
    mixed = self_attention(_side_by_side(rms_norm(own.norm, x), own.qkv, training), bias, mask, heads)
    x = _add_linear(x, mixed, own.out, rate, first)
    return _add_linear(x, _activated(rms_norm(mlp.norm, x), mlp.fc1, training), mlp.fc2, rate, second)


def decoder_block(
    x: Tensor,
    bias: Tensor,
    states: Tensor,
    mask: Tensor,
    heads: int,
    rate: float,
    seeds: Tensor | None,
    training: bool,
    weights: DecoderWeights,
) -> Tensor:
    """Hidden states `[N, L, width]` after one block that also reads encoder `states` under `mask`.

    May write into `x`.
    """
    first, second, third, *_ = _each(seeds)
    own, cross, mlp = weights
    mixed = self_attention(_side_by_side(rms_norm(own.norm, x), own.qkv, training), bias, None, heads)
    x = _add_linear(x, mixed, own.out, rate, first)
    kv = _side_by_side(states, cross.kv, training)
    mixed = cross_attention(F.linear(rms_norm(cross.norm, x), cross.q), kv, mask, heads)
    x = _add_linear(x, mixed, cross.out, rate, second)
    return _add_linear(x, _activated(rms_norm(mlp.norm, x), mlp.fc1, training), mlp.fc2, rate, third)


def decode_qkv(x: Tensor, squares: Tensor | None, heads: int, weights: DecoderWeights) -> tuple[Tensor, ...]:
    """Queries, keys and values `[N, H, L, d]` of a decoding step; `squares` as `decode_mlp` gives them."""
    own = weights.attention
    made = _norm_linear(x, squares, own.norm, own.qkv)
    return tuple(split_heads(part, heads) for part in (made if len(made) == 3 else made[0].chunk(3, -1)))


def decode_mlp(
    x: Tensor,
    mixed: Tensor,
    cross_kv: tuple[Tensor, Tensor],
    mask: Tensor,
    heads: int,
    weights: DecoderWeights,
) -> tuple[Tensor, Tensor | None]:
    """A decoding step's block after its attention `mixed` `[N, H, B, d]` to itself. May write into `x`.

    Beams stand where positions stand in training. Beside the states come parts of each row's sum of squares, where
    the kernel that made them has these.
    """
    own, cross, mlp = weights
    x, squares = _decode_add(x, merge_heads(mixed), own.out)
    (query,) = _norm_linear(x, squares, cross.norm, (cross.q,))
    mixed = attend(split_heads(query, heads), *cross_kv, mask)
    x, squares = _decode_add(x, merge_heads(mixed), cross.out)
    made = _norm_linear(x, squares, mlp.norm, mlp.fc1, relu=len(mlp.fc1) == 1)
    return _decode_add(x, _gated(made), mlp.fc2)


def relu_linear(x: Tensor, weight: Tensor) -> Tensor:
    """F.relu(F.linear(x, weight)): in one kernel where weights are as inference on a GPU stores them."""
    plain = torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.is_autocast_enabled(x.device.type)
    half = hasattr(torch, "_addmm_activation") and x.is_cuda and x.dtype == weight.dtype == torch.bfloat16
    if plain or not half:
        return F.relu(F.linear(x, weight))
    # An operator for torch's own use, which it may drop; cuBLASLt has a kernel of it where it adds a bias.
    made = torch._addmm_activation(_zeros(len(weight), weight.device), x.flatten(0, 1), weight.t())
    return made.view(*x.shape[:2], -1)


def token_loss(x: Tensor, weight: Tensor, labels: Tensor, pad: int) -> Tensor:
    """Mean cross-entropy of `labels` after hidden states `x`, padding left out."""
    return F.cross_entropy(_logits(x.flatten(0, 1), weight), labels.flatten(), ignore_index=pad)


def sample_token(hidden: Tensor, weight: Tensor, banned: Tensor, temperature: Tensor, noise: Tensor) -> Tensor:
    """Sample a token a row by the Gumbel maximum; row i takes the noise of row i modulo its count."""
    logits = _logits(hidden, weight)[..., : len(weight)] + banned
    shared = noise[torch.arange(len(hidden), device=hidden.device) % len(noise)]
    return (logits + temperature[:, None] * shared).argmax(-1)


def autocast_like(x: Tensor) -> Tensor:
    """`x` in autocast's precision, if that is on: the embedding lookup isn't one of its operations."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


@contextmanager
def as_stored(x: Tensor, weight: Tensor) -> Iterator[Tensor]:
    """`x`; in half precision and without autocast, which would take every norm out of it, if `weight` is too."""
    half = weight.dtype == torch.bfloat16
    with torch.autocast(x.device.type, enabled=False) if half else nullcontext():
        yield x.to(torch.bfloat16) if half else x


@dataclass(frozen=True)
class Layers:
    """What repeats in a network: the functions above, plain or compiled."""

    drop: Callable[..., Tensor] = drop
    final_norm: Callable[..., Tensor] = final_norm
    encoder_block: Callable[..., Tensor] = encoder_block
    decoder_block: Callable[..., Tensor] = decoder_block
    token_loss: Callable[..., Tensor] = token_loss
    decode_qkv: Callable[..., tuple[Tensor, ...]] = decode_qkv
    decode_mlp: Callable[..., tuple[Tensor, Tensor | None]] = decode_mlp
    sample_token: Callable[..., Tensor] = sample_token


def compiled_layers() -> Layers:
    """Each function compiled, for shapes of any size."""
    # Shapes vary from the first batch on; numbers of heads and the like don't.
    torch._dynamo.config.specialize_int = True
    torch._dynamo.config.specialize_float = True
    # Training, evaluation, first guesses and corrections each have a variant of the one layer.
    torch._dynamo.config.recompile_limit = 32
    plain: dict[str, Callable[..., Any]] = vars(Layers())
    return Layers(**{name: torch.compile(function, dynamic=True) for name, function in plain.items()})


def _each(seeds: Tensor | None) -> Sequence[Tensor | None]:
    return (None, None, None) if seeds is None else seeds.unbind()


def _activated(x: Tensor, weights: Sequence[Tensor], training: bool = False) -> Tensor:
    """The wide half of a feed-forward network."""
    if len(weights) == 1:  # T5's first version
        return relu_linear(x, weights[0])
    return _gated(_side_by_side(x, weights, training).chunk(2, -1))


def _gated(made: Sequence[Tensor]) -> Tensor:
    """What a feed-forward network narrows again: what was rectified, or one half by the other's gate."""
    return made[0] if len(made) == 1 else F.gelu(made[0], approximate="tanh") * made[1]


@cache
def _zeros(size: int, device: torch.device) -> Tensor:
    """A bias of zeros, which recorded graphs may keep reading."""
    return torch.zeros(size, dtype=torch.bfloat16, device=device)


def _norm_linear(
    x: Tensor, squares: Tensor | None, scale: Tensor | None, weights: Sequence[Tensor], *, relu: bool = False
) -> list[Tensor]:
    """Products of `rms_norm(scale, x)` with each of the weights, for a decoding step."""
    if squares is not None and scale is None:
        rows = x.flatten(0, 1)
        made = [kernels.linear.norm_linear(rows, weight, squares, relu=relu) for weight in weights]
        return [part.view(*x.shape[:2], -1) for part in made]
    x = rms_norm(scale, x)
    return [relu_linear(x, weight) if relu else F.linear(x, weight) for weight in weights]


def _add_linear(x: Tensor, y: Tensor, weight: Tensor, rate: float, seed: Tensor | None) -> Tensor:
    """x + drop(F.linear(y, weight), rate, seed): in one kernel, into x, where `_adds_in_place` says so."""
    if seed is None and _adds_in_place(x, y, weight):
        return x.flatten(0, 1).addmm_(y.flatten(0, 1), weight.t()).view_as(x)
    return x + drop(F.linear(y, weight), rate, seed)


def _adds_in_place(x: Tensor, y: Tensor, weight: Tensor) -> bool:
    """Whether weights are as inference on a GPU stores them."""
    plain = torch.is_grad_enabled() or torch.compiler.is_compiling()
    return not plain and x.is_cuda and x.dtype == weight.dtype == y.dtype


def _decode_add(x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor | None]:
    """x + F.linear(y, weight), and for few rows the parts of their sums of squares; may write into x."""
    if _adds_in_place(x, y, weight) and x.dtype == torch.bfloat16 and kernels.linear is not None:
        rows = x.flatten(0, 1)
        if kernels.linear.fits(len(rows), weight):
            return rows.view_as(x), kernels.linear.add_linear(rows, y.flatten(0, 1), weight)
    return _add_linear(x, y, weight, 0.0, None), None


def _side_by_side(x: Tensor, weights: Sequence[Tensor], training: bool) -> Tensor:
    """Linear maps of one input side by side: one product in training, where there are many rows."""
    if training:
        return F.linear(x, torch.cat(list(weights)))
    if len(weights) == 1:
        return F.linear(x, weights[0])
    return torch.cat([F.linear(x, weight) for weight in weights], -1)


def _logits(x: Tensor, weight: Tensor) -> Tensor:
    # Matrix units want sides that are multiples of 8, which a vocabulary rarely is: the rest gets no probability.
    size = len(weight)
    logits = F.linear(x, F.pad(weight, (0, 0, 0, -size % 8))).float()
    return logits.masked_fill(torch.arange(logits.shape[-1], device=x.device) >= size, -1e9)
