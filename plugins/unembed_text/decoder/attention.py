"""Attention as T5 has it: unscaled scores plus biases, over heads that lie side by side in one tensor."""

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed_text import kernels

__all__ = [
    "attend",
    "cached_attention",
    "cross_attention",
    "has_kernel",
    "logsumexp",
    "merge_heads",
    "self_attention",
    "split_heads",
]


def split_heads(x: Tensor, heads: int) -> Tensor:
    """`[N, L, H·d]` as `[N, H, L, d]`."""
    apart: Tensor = x.unflatten(-1, (heads, -1))
    return apart.transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """`[N, H, L, d]` as `[N, L, H·d]`."""
    return x.transpose(1, 2).flatten(2)


def self_attention(qkv: Tensor, bias: Tensor, mask: Tensor | None, heads: int) -> Tensor:
    """Positions with queries, keys and values `qkv` `[N, L, 3·H·d]` attend to each other: `[N, L, H·d]`.

    `bias` `[1, H, L, L]` is added to every row's scores, `mask` `[N, 1, 1, L]` to those of its keys, if
    there is one.
    """
    width = qkv.shape[2] // 3
    if has_kernel(qkv, qkv.shape[1], qkv.shape[1], width // heads):
        return kernels.attention.attention(qkv, None, bias, mask, heads)
    query, key, value = (split_heads(part, heads) for part in qkv.split(width, -1))
    return merge_heads(attend(query, key, value, bias if mask is None else bias + mask))


def cross_attention(query: Tensor, kv: Tensor, mask: Tensor, heads: int) -> Tensor:
    """Queries `[N, L, H·d]` attend to keys and values `kv` `[N, S, 2·H·d]` under `mask` `[N, 1, 1, S]`."""
    width = query.shape[2]
    if has_kernel(query, query.shape[1], kv.shape[1], width // heads):
        return kernels.attention.attention(query, kv, None, mask, heads)
    key, value = (split_heads(part, heads) for part in kv.split(width, -1))
    return merge_heads(attend(split_heads(query, heads), key, value, mask))


def has_kernel(x: Tensor, queries: int, keys: int, width: int) -> bool:
    """Whether one kernel does the attention of so many positions, with heads of `width`, on the device of `x`."""
    return kernels.attention is not None and x.is_cuda and kernels.attention.fits(queries, keys, width)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, visible: Tensor | None = None) -> Tensor:
    """Attention written out, for heads `[N, H, L, d]` and a bias that broadcasts to `[N, H, L, S]`.

    `visible` `[N, L, S]` says which keys each query may look at: all, if it is None.
    """
    # T5 doesn't scale the scores; its initialisation does.
    length = query.shape[2]
    if _has_cached_kernel(query) and bias.shape[2] == 1:
        if length == 1 and visible is None:
            return kernels.cached_attention.single_attention(query, key, value, bias)
        of_beams: Tensor = kernels.cached_attention.beam_attention(query, key, value, bias, visible)
        return of_beams
    if visible is not None:
        bias = bias.masked_fill(~visible[:, None], -1e9)
    if length == 1 and not query.is_cuda:  # for more queries plain products are faster on CPUs
        # torch's kernel takes a bias in float32 beside half precision, and misreads one beside float64.
        bias = bias.to(torch.promote_types(query.dtype, torch.float32)).expand(*query.shape[:3], key.shape[2])
        return F.scaled_dot_product_attention(query, key, value, bias, scale=1.0)
    if query.is_cuda:
        query, key, value, bias = aligned(query, key, value, bias)
    scores: Tensor = (query @ key.transpose(-1, -2)).float() + bias
    mixed: Tensor = scores.softmax(-1).to(value.dtype) @ value
    return mixed[:, :, :length]


def cached_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    keys: Tensor,
    values: Tensor,
    where: Tensor,
    bias: Tensor,
    visible: Tensor | None = None,
) -> Tensor:
    """`attend` of beams `[N, H, B, d]` to buffers `[N, H, S, d]`, once their keys and values are in the slots `where`.

    As many slots are read as `bias` has. It hides those after `where` `[B]`, and nothing from a lone beam but those.
    """
    if _has_cached_kernel(query) and query.shape[2] == 1 and visible is None:
        return kernels.cached_attention.lone_attention(query, key, value, keys, values, where, bias)
    if _has_cached_kernel(query):
        kernels.cached_attention.append(keys, values, key, value, where)
    else:
        keys.index_copy_(2, where, key)
        values.index_copy_(2, where, value)
    end = bias.shape[-1]
    return attend(query, keys[:, :, :end], values[:, :, :end], bias, visible)


def _has_cached_kernel(query: Tensor) -> bool:
    """Whether the kernels for decoding take queries `[N, H, B, d]`; they have no gradient."""
    usable = kernels.cached_attention is not None and query.is_cuda and not torch.is_grad_enabled()
    return usable and kernels.attention.fits(query.shape[2], 1, query.shape[3])


def logsumexp(x: Tensor) -> Tensor:
    """Over the last dimension of `[..., V]`, as float32 `[...]`."""
    if kernels.vocabulary is not None and x.is_cuda:
        return kernels.vocabulary.logsumexp(x)
    # On CPUs torch vectorises log_softmax, but not logsumexp.
    return x.amax(-1).float() - F.log_softmax(x, -1, dtype=torch.float32).amax(-1)


def aligned(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same attention with both lengths rounded up to multiples of 8, which matrix units want."""
    rows, columns = -query.shape[2] % 8, -key.shape[2] % 8
    if rows:
        query = F.pad(query, (0, 0, 0, rows))
        bias = bias if bias.shape[2] == 1 else F.pad(bias, (0, 0, 0, rows))
    if columns:  # padding by nothing would copy a whole cache
        key, value = (F.pad(x, (0, 0, 0, columns)) for x in (key, value))
        bias = F.pad(bias, (0, columns), value=-1e9)
    return query, key, value, bias
