"""The network's layers as functions of tensors, so that one compilation of each serves all blocks."""

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import T5Config

from unembed_text.decoder.attention import attend, cross_attention, merge_heads, own_attention, split_heads
from unembed_text.kernels import fused_linear

__all__ = [
    "Weights",
    "decoder_layer",
    "drop",
    "encoder_layer",
    "encoder_states",
    "finish",
    "folded",
    "joined",
    "knows",
    "leave",
    "norm",
    "pick",
    "position_bias",
    "project",
    "rectified",
    "token_loss",
    "weights_of",
]


Weights = list[list[Tensor]]  # of a block, as `weights_of` gives them

EPSILON = 1e-6  # of T5's norms
JOINED = "joined"  # buffer of an attention that holds such weights
FOLDED = "folded"  # attribute of a norm whose scale the maps after it have taken over


def knows(t5: T5Config) -> bool:
    """Whether these are the layers of such a T5."""
    kinds = ("relu", False), ("gelu_new", True)
    return (t5.dense_act_fn, t5.is_gated_act) in kinds and t5.layer_norm_epsilon == EPSILON


def norm(weight: Tensor | None, x: Tensor) -> Tensor:
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


def leave(x: Tensor, scale: Tensor, rate: float, seed: Tensor | None) -> Tensor:
    """The last norm of a half, with dropout."""
    return drop(norm(scale, x), rate, seed)


def encoder_layer(
    x: Tensor,
    bias: Tensor,
    mask: Tensor,
    heads: int,
    rate: float,
    seeds: Tensor | None,
    training: bool,
    weights: Sequence[Sequence[Tensor]],
) -> Tensor:
    """States `[N, S, width]` after one block; `bias` and `mask` as `own_attention` takes them, `seeds` as `drop`.

    May write into `x`.
    """
    first, second, *_ = _each(seeds)
    (scale, *parts, own_out), (feed_scale, *enter, feed_out) = weights
    x = _added(x, own_attention(_joint(norm(scale, x), parts, training), bias, mask, heads), own_out, rate, first)
    return _added(x, _entered(norm(feed_scale, x), enter, training), feed_out, rate, second)


def encoder_states(
    stack: nn.Module,
    x: Tensor,
    inside: Tensor,
    heads: int,
    layer: Callable[..., Tensor] = encoder_layer,
    training: bool = False,
) -> Tensor:
    """States of inputs `[N, L, width]` after a T5 stack's blocks and its last norm; `inside` `[N, L]` is no padding.

    May write into `x`.
    """
    bias = position_bias(stack, x.shape[1], x.device)
    mask = torch.where(inside, 0.0, -1e9)[:, None, None]
    for block in stack.block:
        x = layer(x, bias, mask, heads, 0.0, None, training, weights_of(block))
    return norm(stack.final_layer_norm.weight, x)


def position_bias(stack: nn.Module, length: int, device: torch.device) -> Tensor:
    """What a T5 stack's attention to itself adds to scores, `[1, H, length, length]`, as its kernels want it."""
    bias = stack.block[0].layer[0].SelfAttention.compute_bias(length, length, device=device)
    return bias.float().contiguous()


def decoder_layer(
    x: Tensor,
    bias: Tensor,
    states: Tensor,
    mask: Tensor,
    heads: int,
    rate: float,
    seeds: Tensor | None,
    training: bool,
    weights: Sequence[Sequence[Tensor]],
) -> Tensor:
    """Hidden states `[N, L, width]` after one block that also reads encoder `states` under `mask`.

    May write into `x`.
    """
    first, second, third, *_ = _each(seeds)
    (scale, *parts, own_out), (cross_scale, q, k, v, cross_out), (feed_scale, *enter, feed_out) = weights
    x = _added(x, own_attention(_joint(norm(scale, x), parts, training), bias, None, heads), own_out, rate, first)
    pair = _joint(states, (k, v), training)
    x = _added(x, cross_attention(F.linear(norm(cross_scale, x), q), pair, mask, heads), cross_out, rate, second)
    return _added(x, _entered(norm(feed_scale, x), enter, training), feed_out, rate, third)


def project(x: Tensor, squares: Tensor | None, heads: int, weights: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
    """Queries, keys and values `[N, H, L, d]` of a decoding step; `squares` as `finish` gives them."""
    scale, *parts, _ = weights[0]
    made = _normed(x, squares, scale, parts)
    return tuple(split_heads(part, heads) for part in (made if len(made) == 3 else made[0].chunk(3, -1)))


def finish(
    x: Tensor,
    mixed: Tensor,
    cross: tuple[Tensor, Tensor],
    mask: Tensor,
    heads: int,
    weights: Sequence[Sequence[Tensor]],
) -> tuple[Tensor, Tensor | None]:
    """A decoding step's layer after its attention `mixed` `[N, H, B, d]` to itself. May write into `x`.

    Beams stand where positions stand in training. Beside the states come parts of each row's sum of squares, where
    the kernel that made them has these.
    """
    (*_, own_out), (scale, q, _, _, out), feed = weights
    x, squares = _plus(x, merge_heads(mixed), own_out)
    (query,) = _normed(x, squares, scale, [q])
    x, squares = _plus(x, merge_heads(attend(split_heads(query, heads), *cross, mask)), out)
    scale, *enter, out = feed
    return _plus(x, _gated(_normed(x, squares, scale, enter, relu=len(enter) == 1)), out)


def rectified(x: Tensor, weight: Tensor) -> Tensor:
    """F.relu(F.linear(x, weight)): in one kernel where weights are as inference on a GPU stores them."""
    plain = torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.is_autocast_enabled(x.device.type)
    fused = hasattr(torch, "_addmm_activation") and x.is_cuda and x.dtype == weight.dtype == torch.bfloat16
    if plain or not fused:
        return F.relu(F.linear(x, weight))
    # An operator for torch's own use, which it may drop; cuBLASLt has a kernel of it where it adds a bias.
    made = torch._addmm_activation(_nothing(len(weight), weight.device), x.flatten(0, 1), weight.t())
    return made.view(*x.shape[:2], -1)


def token_loss(x: Tensor, weight: Tensor, labels: Tensor, pad: int) -> Tensor:
    """Mean cross-entropy of `labels` after hidden states `x`, padding left out."""
    return F.cross_entropy(_logits(x.flatten(0, 1), weight), labels.flatten(), ignore_index=pad)


def pick(hidden: Tensor, weight: Tensor, banned: Tensor, temperature: Tensor, noise: Tensor) -> Tensor:
    """Sample a token a row by the Gumbel maximum; row i takes the noise of row i modulo its count."""
    logits = _logits(hidden, weight)[..., : len(weight)] + banned
    shared = noise[torch.arange(len(hidden), device=hidden.device) % len(noise)]
    return (logits + temperature[:, None] * shared).argmax(-1)


def weights_of(block: nn.Module) -> Weights:
    """The tensors of a T5 block as the layers above take them: of each part its norm's, None if folded, then its maps'.

    Queries, keys and values have three maps, or one where they are stored as `joined`.
    """
    found = []
    for layer in block.layer:
        attention = getattr(layer, "SelfAttention", None) or getattr(layer, "EncDecAttention", None)
        if attention is None:
            maps = [part.weight for part in layer.DenseReluDense.children() if isinstance(part, nn.Linear)]
        elif hasattr(attention, JOINED):
            maps = [getattr(attention, JOINED), attention.o.weight]
        else:
            maps = [part.weight for part in (attention.q, attention.k, attention.v, attention.o)]
        scale = None if getattr(layer.layer_norm, FOLDED, False) else layer.layer_norm.weight
        found.append([scale, *maps])
    return found


def folded(block: nn.Module) -> None:
    """Let the maps that follow a block's norms take over their scales, before any are `joined`.

    Weights loaded afterwards would have to be folded already.
    """
    for layer in block.layer:
        attention = getattr(layer, "SelfAttention", None)
        if attention is not None:
            maps = [attention.q, attention.k, attention.v]
        elif hasattr(layer, "EncDecAttention"):
            maps = [layer.EncDecAttention.q]
        else:
            feed = layer.DenseReluDense
            maps = [part for part in feed.children() if isinstance(part, nn.Linear) and part is not feed.wo]
        for part in maps:
            part.weight.data = part.weight.data * layer.layer_norm.weight.data
        layer.layer_norm.weight.data.fill_(1)
        setattr(layer.layer_norm, FOLDED, True)


def joined(block: nn.Module) -> None:
    """Store what maps a block's states to queries, keys and values side by side: one product where there were three."""
    attention = block.layer[0].SelfAttention
    parts = (attention.q.weight, attention.k.weight, attention.v.weight)
    whole = torch.cat([part.data for part in parts])
    attention.register_buffer(JOINED, whole, persistent=False)  # so that it moves with the network
    for part, piece in zip(parts, whole.split([len(part) for part in parts]), strict=True):
        part.data = piece


def _each(seeds: Tensor | None) -> Sequence[Tensor | None]:
    return (None, None, None) if seeds is None else seeds.unbind()


def _entered(x: Tensor, weights: Sequence[Tensor], training: bool = False) -> Tensor:
    """The wide half of a feed-forward network."""
    if len(weights) == 1:  # T5's first version
        return rectified(x, weights[0])
    return _gated(_joint(x, weights, training).chunk(2, -1))


def _gated(made: Sequence[Tensor]) -> Tensor:
    """What a feed-forward network narrows again: what was rectified, or one half by the other's gate."""
    return made[0] if len(made) == 1 else F.gelu(made[0], approximate="tanh") * made[1]


@cache
def _nothing(size: int, device: torch.device) -> Tensor:
    """A bias of zeros, which recorded graphs may keep reading."""
    return torch.zeros(size, dtype=torch.bfloat16, device=device)


def _normed(
    x: Tensor, squares: Tensor | None, scale: Tensor | None, weights: Sequence[Tensor], *, relu: bool = False
) -> list[Tensor]:
    """Products of `norm(scale, x)` with each of the weights, for a decoding step."""
    if squares is not None and scale is None:
        rows = x.flatten(0, 1)
        made = [fused_linear.fused_linear(rows, weight, squares, relu=relu) for weight in weights]
        return [part.view(*x.shape[:2], -1) for part in made]
    x = norm(scale, x)
    return [rectified(x, weight) if relu else F.linear(x, weight) for weight in weights]


def _added(x: Tensor, y: Tensor, weight: Tensor, rate: float, seed: Tensor | None) -> Tensor:
    """x + drop(F.linear(y, weight), rate, seed): in one kernel, into x, where `_adds` says so."""
    if seed is None and _adds(x, y, weight):
        return x.flatten(0, 1).addmm_(y.flatten(0, 1), weight.t()).view_as(x)
    return x + drop(F.linear(y, weight), rate, seed)


def _adds(x: Tensor, y: Tensor, weight: Tensor) -> bool:
    """Whether weights are as inference on a GPU stores them."""
    plain = torch.is_grad_enabled() or torch.compiler.is_compiling()
    return not plain and x.is_cuda and x.dtype == weight.dtype == y.dtype


def _plus(x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor | None]:
    """x + F.linear(y, weight), and for few rows the parts of their sums of squares; may write into x."""
    if _adds(x, y, weight) and x.dtype == torch.bfloat16 and fused_linear is not None:
        rows = x.flatten(0, 1)
        if fused_linear.fits(len(rows), weight):
            return rows.view_as(x), fused_linear.fused_sum(rows, y.flatten(0, 1), weight)
    return _added(x, y, weight, 0.0, None), None


def _joint(x: Tensor, weights: Sequence[Tensor], training: bool) -> Tensor:
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
