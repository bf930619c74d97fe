"""The network's layers as functions of tensors, so that one compilation of each serves all blocks."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unembed_text.attention import attend, cross_attention, merge_heads, own_attention, rms_norm, split_heads

__all__ = ["decoder_layer", "encoder_layer", "finish", "pick", "project", "token_loss", "weights_of"]


def encoder_layer(
    x: Tensor, bias: Tensor, mask: Tensor, heads: int, rate: float, training: bool, weights: Sequence[Tensor]
) -> Tensor:
    """States `[N, S, width]` after one block; `bias` and `mask` as `own_attention` takes them."""
    x = _own(x, bias, mask, heads, rate, training, weights[:5])
    return x + F.dropout(_feed(x, weights[5:], training), rate, training)


def decoder_layer(
    x: Tensor,
    bias: Tensor,
    states: Tensor,
    mask: Tensor,
    heads: int,
    rate: float,
    training: bool,
    weights: Sequence[Tensor],
) -> Tensor:
    """Hidden states `[N, L, width]` after one block that also reads encoder `states` under `mask`."""
    x = _own(x, bias, None, heads, rate, training, weights[:5])
    scale, q, k, v, leave = weights[5:10]
    pair = _joint(states, (k, v), training)
    mixed = cross_attention(F.linear(rms_norm(scale, x), q), pair, mask, heads)
    x = x + F.dropout(F.linear(mixed, leave), rate, training)
    return x + F.dropout(_feed(x, weights[10:], training), rate, training)


def project(x: Tensor, heads: int, weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Queries, keys and values `[N, H, L, d]` of a decoding step."""
    scale, *parts = weights
    x = rms_norm(scale, x)
    return tuple(split_heads(F.linear(x, part), heads) for part in parts)


def finish(
    x: Tensor,
    query: Tensor,
    own: tuple[Tensor, Tensor],
    bias: Tensor,
    cross: tuple[Tensor, Tensor],
    mask: Tensor,
    heads: int,
    weights: Sequence[Tensor],
) -> Tensor:
    """A decoding step's layer after `project`; beams stand where positions stand in training."""
    x = x + F.linear(merge_heads(attend(query, *own, bias)), weights[0])
    scale, q, _, _, leave = weights[1:6]
    query = split_heads(F.linear(rms_norm(scale, x), q), heads)
    x = x + F.linear(merge_heads(attend(query, *cross, mask)), leave)
    return x + _feed(x, weights[6:])


def token_loss(x: Tensor, weight: Tensor, labels: Tensor, pad: int) -> Tensor:
    """Mean cross-entropy of `labels` after hidden states `x`, padding left out."""
    return F.cross_entropy(_logits(x.flatten(0, 1), weight), labels.flatten(), ignore_index=pad)


def pick(hidden: Tensor, weight: Tensor, banned: Tensor, temperature: Tensor, noise: Tensor) -> Tensor:
    """Sample a token a row by the Gumbel maximum; row i takes the noise of row i modulo its count."""
    logits = _logits(hidden, weight)[..., : len(weight)] + banned
    shared = noise[torch.arange(len(hidden), device=hidden.device) % len(noise)]
    return (logits + temperature[:, None] * shared).argmax(-1)


def weights_of(block: nn.Module) -> list[Tensor]:
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


def _own(
    x: Tensor, bias: Tensor, mask: Tensor | None, heads: int, rate: float, training: bool, weights: Sequence[Tensor]
) -> Tensor:
    scale, q, k, v, leave = weights
    mixed = own_attention(_joint(rms_norm(scale, x), (q, k, v), training), bias, mask, heads)
    return x + F.dropout(F.linear(mixed, leave), rate, training)


def _feed(x: Tensor, weights: Sequence[Tensor], training: bool = False) -> Tensor:
    scale, *parts = weights
    if len(parts) == 2:  # T5's first version
        return F.linear(F.relu(F.linear(rms_norm(scale, x), parts[0])), parts[1])
    enter, gate, leave = parts
    enter, gate = _joint(rms_norm(scale, x), (enter, gate), training).chunk(2, -1)
    return F.linear(F.gelu(enter, approximate="tanh") * gate, leave)


def _joint(x: Tensor, weights: Sequence[Tensor], training: bool) -> Tensor:
    """Linear maps of one input side by side: one product in training, where there are many rows."""
    if training:
        return F.linear(x, torch.cat(list(weights)))
    return torch.cat([F.linear(x, weight) for weight in weights], -1)


def _logits(x: Tensor, weight: Tensor) -> Tensor:
    # Matrix units want sides that are multiples of 8, which a vocabulary rarely is: the rest gets no probability.
    size = len(weight)
    logits = F.linear(x, F.pad(weight, (0, 0, 0, -size % 8))).float()
    return logits.masked_fill(torch.arange(logits.shape[-1], device=x.device) >= size, -1e9)
