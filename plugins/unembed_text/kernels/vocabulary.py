"""A vocabulary's normaliser and its likeliest token, for decoding on CUDA devices: logits are read once, as they are.

Neither kernel has a gradient.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["argmax_token", "logsumexp"]


def argmax_token(
    logits: Tensor, never: Tensor, end: int, pad: int, done: Tensor, texts: Tensor, position: Tensor, first: bool
) -> Tensor:
    """The likeliest tokens `[R, 1]` by `logits` `[R, 1, V]`, `pad` where a row is done; also written to `texts`.

    Those in `never` `[K]`, and `end` where `first` says so, are not to be written. `done` `[R]` holds after it also
    where `end` was the likeliest, `texts` `[R, 1, length]` the tokens at `position` `[1]`. The first of equals counts.
    """
    last = torch.empty_like(done, dtype=torch.long)[:, None]
    _argmax_token[(len(last),)](
        logits, never, done, last, texts, position, logits.stride(0), texts.stride(0), texts.stride(2),
        logits.shape[2], end, pad, FIRST=first, NEVER=len(never), BLOCK=4096, num_warps=8,
    )  # fmt: skip
    return last


def logsumexp(x: Tensor) -> Tensor:
    """Over the last dimension of `[..., V]`, as float32 `[...]`, without a float32 copy of `x`."""
    rows = x.flatten(0, -2)
    out = torch.empty(len(rows), dtype=torch.float32, device=x.device)
    if len(rows):
        _logsumexp[(len(rows),)](rows, out, rows.stride(0), rows.shape[1], BLOCK=4096)
    return out.view(x.shape[:-1])


@triton.jit
def _logsumexp(x, out, stride, size, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, BLOCK)
    top = tl.full([BLOCK], -1e30, tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, size, BLOCK):
        inside = start + place < size
        value = tl.load(x + row * stride + start + place, mask=inside, other=float("-inf")).to(tl.float32)
        higher = tl.maximum(top, value)
        total = total * tl.exp(top - higher) + tl.exp(value - higher)
        top = higher
    highest = tl.max(top, 0)
    tl.store(out + row, highest + tl.log(tl.sum(total * tl.exp(top - highest), 0)))


@triton.jit
def _argmax_token(
    x, never, done, last, texts, position, stride, text, place, size, end, pad,
    FIRST: tl.constexpr, NEVER: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    top = tl.full([BLOCK], float("-inf"), tl.float32)
    at = tl.zeros([BLOCK], tl.int32)
    for start in range(0, size, BLOCK):
        token = start + tl.arange(0, BLOCK)
        value = tl.load(x + row * stride + token, mask=token < size, other=float("-inf")).to(tl.float32)
        for index in tl.static_range(NEVER):
            value = tl.where(token == tl.load(never + index), float("-inf"), value)
        if FIRST:
            value = tl.where(token == end, float("-inf"), value)
        at = tl.where(value > top, token, at)
        top = tl.maximum(top, value)
    found = tl.min(tl.where(top == tl.max(top, 0), at, size), 0).to(tl.int64)
    over = (tl.load(done + row) != 0) | (found == end)
    found = tl.where(over, pad, found)
    tl.store(done + row, over)
    tl.store(last + row, found)
    tl.store(texts + row * text + tl.load(position) * place, found)
