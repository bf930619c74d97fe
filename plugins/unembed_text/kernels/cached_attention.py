"""Attention of the newest tokens over cached keys and values, for decoding on CUDA devices.

Keys and values are read once, wherever they lie in their buffers, and scores stay in registers (as in Dao et al.,
*FlashAttention*, NeurIPS 2022): the scores of a row's beams over all of their slots are many times larger than the
keys. None of these has a gradient.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from unembed_text.kernels.linear import early

__all__ = ["append", "beam_attention", "lone_attention", "single_attention"]

TILE = 64  # slots that beams look at together
LANES = 8  # slots that one query looks at together: few, so that a warp does and many fit a multiprocessor
HIDDEN = tl.constexpr(-1e8)  # a bias below it hides its position


def append(keys: Tensor, values: Tensor, key: Tensor, value: Tensor, where: Tensor) -> None:
    """Write `key` and `value` `[R, H, B, d]` to the slots `where` `[B]` of buffers `[R, H, S, d]` of their type."""
    rows, heads, beams, width = key.shape
    _append[(rows, heads)](
        key, value, keys, values, where,
        *key.stride()[:3], *value.stride()[:3], *keys.stride()[:3], *values.stride()[:3],
        beams, TB=triton.next_power_of_2(beams), D=width, num_warps=1,
    )  # fmt: skip


def lone_attention(
    query: Tensor, key: Tensor, value: Tensor, keys: Tensor, values: Tensor, where: Tensor, bias: Tensor
) -> Tensor:
    """`append` of one beam, and its attention to what it wrote and to all slots before, without a gradient.

    `query`, `key` and `value` are `[R, H, 1, d]`, `where` is `[1]`; `bias` broadcasts to `[R, H, 1, slots]`, with at
    least as many slots as there are now. The result is `[R, H, 1, d]`.
    """
    rows, heads, _, width = query.shape
    bias = bias.expand(rows, heads, 1, -1)
    out = query.new_empty(query.shape)
    _lone[(rows, heads)](
        query, key, value, keys, values, where, bias, out,
        *query.stride()[:2], *key.stride()[:2], *value.stride()[:2], *keys.stride()[:3], *values.stride()[:3],
        bias.stride(0), bias.stride(1), bias.stride(3), TK=LANES, D=width, num_warps=1, **early(query.device),
    )  # fmt: skip
    return out


def single_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Attention of one query a row `[R, H, 1, d]` to `key` and `value` `[R, H, S, d]`, without a gradient.

    `bias` broadcasts to the scores `[R, H, 1, S]`; the kernel right before this one must not be what makes it. Each key
    and value up to the last that it doesn't hide is read once.
    """
    if torch.compiler.is_compiling():
        return _compiled_single(query, key, value, bias)
    return _launched(_single, query, key, value, bias, early(query.device))


@torch.library.triton_op("unembed_text::single_attention", mutates_args=())
def _compiled_single(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    return _launched(torch.library.wrap_triton(_single), query, key, value, bias, {"EARLY": False})


def _launched(kernel: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor, when: dict[str, bool]) -> Tensor:
    rows, heads, _, width = query.shape
    bias = bias.expand(rows, heads, 1, key.shape[2])
    out = query.new_empty(query.shape)
    kernel[(rows, heads)](
        query, key, value, bias, out, *query.stride()[:2], *key.stride()[:3], *value.stride()[:3],
        bias.stride(0), bias.stride(1), bias.stride(3), key.shape[2],
        SPAN=128, TK=LANES, D=width, num_warps=1, **when,
    )  # fmt: skip
    return out


@torch.library.triton_op("unembed_text::beam_attention", mutates_args=())
def beam_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, seen: Tensor | None) -> Tensor:
    """Attention of a row's beams `[R, H, B, d]` to the `key` and `value` `[R, H, S, d]` that they share.

    `bias` broadcasts to `[R, H, 1, S]` and is added to every beam's scores; `seen` `[R, B, S]` says which slots are a
    beam's own past, all of them if it is None.
    """
    rows, heads, beams, width = query.shape
    bias = bias.expand(rows, heads, 1, key.shape[2])
    out = query.new_empty(rows, beams, heads, width).transpose(1, 2)  # heads of a beam side by side, as they are merged
    torch.library.wrap_triton(_beams)[(rows, heads)](
        query,
        key,
        value,
        bias,
        bias if seen is None else seen,
        out,
        *query.stride()[:3],
        *key.stride()[:3],
        *value.stride()[:3],
        bias.stride(0),
        bias.stride(1),
        bias.stride(3),
        *((0, 0) if seen is None else seen.stride()[:2]),
        *out.stride()[:3],
        beams,
        key.shape[2],
        HAS_SEEN=seen is not None,
        TQ=max(16, triton.next_power_of_2(beams)),
        TK=TILE,
        D=width,
    )
    return out


@triton.jit(do_not_specialize=["beams"])
def _append(
    k, v, keys, values, where, k_row, k_head, k_beam, v_row, v_head, v_beam,
    ks_row, ks_head, ks_place, vs_row, vs_head, vs_place, beams, TB: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    row, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    i, d = tl.arange(0, TB)[:, None], tl.arange(0, D)[None, :]
    slot = tl.load(where + i, mask=i < beams, other=0)
    key = tl.load(k + row * k_row + head * k_head + i * k_beam + d, mask=i < beams)
    value = tl.load(v + row * v_row + head * v_head + i * v_beam + d, mask=i < beams)
    tl.store(keys + row * ks_row + head * ks_head + slot * ks_place + d, key, mask=i < beams)
    tl.store(values + row * vs_row + head * vs_head + slot * vs_place + d, value, mask=i < beams)


@triton.jit
def _lone(
    q, k, v, keys, values, where, bias, out, q_row, q_head, k_row, k_head, v_row, v_head,
    ks_row, ks_head, ks_place, vs_row, vs_head, vs_place, b_row, b_head, b_place,
    TK: tl.constexpr, D: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    row, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    d = tl.arange(0, D)
    if EARLY:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()
    slot = tl.load(where).to(tl.int32)
    query = tl.load(q + row * q_row + head * q_head + d).to(tl.float32)
    key = tl.load(k + row * k_row + head * k_head + d)
    value = tl.load(v + row * v_row + head * v_head + d)
    keys += row * ks_row + head * ks_head
    values += row * vs_row + head * vs_head
    bias += row * b_row + head * b_head
    added = tl.load(bias + slot * b_place)
    tl.store(keys + slot * ks_place + d, key)
    tl.store(values + slot * vs_place + d, value)
    top, total, mixed = _summed(query, keys, values, bias, ks_place, vs_place, b_place, slot, TK, D)
    score = tl.sum(key.to(tl.float32) * query, 0) + added  # what was just written is at hand
    higher = tl.maximum(top, score)
    weight, kept = tl.exp(score - higher), tl.exp(top - higher)
    mixed = (mixed * kept + value.to(tl.float32) * weight) / (total * kept + weight)
    tl.store(out + (row * tl.num_programs(1) + head) * D + d, mixed.to(out.dtype.element_ty))


@triton.jit(do_not_specialize=["keys"])
def _single(
    q, k, v, bias, out, q_row, q_head, k_row, k_head, k_place, v_row, v_head, v_place, b_row, b_head, b_place, keys,
    SPAN: tl.constexpr, TK: tl.constexpr, D: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    row, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    d = tl.arange(0, D)
    k += row * k_row + head * k_head
    v += row * v_row + head * v_head
    bias += row * b_row + head * b_head
    ends = tl.zeros([SPAN], tl.int32)
    for start in range(0, keys, SPAN):
        j = start + tl.arange(0, SPAN)
        shown = tl.load(bias + j * b_place, mask=j < keys, other=-1e30) > HIDDEN
        ends = tl.where(shown, j + 1, ends)
    end = tl.max(ends, 0)  # what is hidden from there on isn't fetched
    if EARLY:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()
    query = tl.load(q + row * q_row + head * q_head + d).to(tl.float32)
    _, total, mixed = _summed(query, k, v, bias, k_place, v_place, b_place, end, TK, D)
    mixed = mixed / tl.maximum(total, 1e-30)  # 0 where all is hidden: a recording's spare rows must not leave NaN
    tl.store(out + (row * tl.num_programs(1) + head) * D + d, mixed.to(out.dtype.element_ty))


@triton.jit
def _summed(query, k, v, bias, k_place, v_place, b_place, end, TK: tl.constexpr, D: tl.constexpr):
    # The highest score of the places before `end`, and sums over them relative to it: of weights, of weighted values.
    # Each lane adds up its own places; what lanes have meets after the loop, where tiles needn't wait for it.
    lane, d = tl.arange(0, TK), tl.arange(0, D)[None, :]
    top = tl.full([TK], -1e30, tl.float32)
    total = tl.zeros([TK], tl.float32)
    mixed = tl.zeros([TK, D], tl.float32)
    for start in tl.range(0, end, TK, num_stages=3):  # with stages, the next tiles are fetched meanwhile
        j = start + lane
        inside, at = j < end, j[:, None]
        added = tl.load(bias + j * b_place, mask=inside, other=-1e30)
        key = tl.load(k + at * k_place + d, mask=inside[:, None], other=0.0).to(tl.float32)
        value = tl.load(v + at * v_place + d, mask=inside[:, None], other=0.0).to(tl.float32)
        scores = tl.sum(key * query[None, :], 1) + added
        higher = tl.maximum(top, scores)
        weights, kept = tl.exp(scores - higher), tl.exp(top - higher)
        total = total * kept + weights
        mixed = mixed * kept[:, None] + value * weights[:, None]
        top = higher
    highest = tl.max(top, 0)
    share = tl.exp(top - highest)
    return highest, tl.sum(total * share, 0), tl.sum(mixed * share[:, None], 0)


@triton.jit(do_not_specialize=["beams", "keys"])
def _beams(
    q, k, v, bias, seen, out, q_row, q_head, q_beam, k_row, k_head, k_place, v_row, v_head, v_place,
    b_row, b_head, b_place, s_row, s_beam, o_row, o_head, o_beam, beams, keys,
    HAS_SEEN: tl.constexpr, TQ: tl.constexpr, TK: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    row, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    i, d = tl.arange(0, TQ)[:, None], tl.arange(0, D)[None, :]
    query = tl.load(q + row * q_row + head * q_head + i * q_beam + d, mask=i < beams, other=0.0)
    top = tl.full([TQ], -1e30, tl.float32)
    total = tl.zeros([TQ], tl.float32)
    mixed = tl.zeros([TQ, D], tl.float32)
    for start in range(0, keys, TK):
        j = start + tl.arange(0, TK)
        inside = j < keys
        at = j[:, None]
        key = tl.load(k + row * k_row + head * k_head + at * k_place + d, mask=inside[:, None], other=0.0)
        scores = tl.dot(query, tl.trans(key), input_precision="ieee")
        scores += tl.load(bias + row * b_row + head * b_head + j * b_place, mask=inside, other=0.0)[None, :]
        if HAS_SEEN:
            own = tl.load(seen + row * s_row + i * s_beam + j[None, :], mask=(i < beams) & inside[None, :], other=0)
            scores = tl.where(own != 0, scores, -1e9)
        scores = tl.where(inside[None, :], scores, -1e30)
        higher = tl.maximum(top, tl.max(scores, 1))
        weights, kept = tl.exp(scores - higher[:, None]), tl.exp(top - higher)
        value = tl.load(v + row * v_row + head * v_head + at * v_place + d, mask=inside[:, None], other=0.0)
        total = total * kept + tl.sum(weights, 1)
        mixed = mixed * kept[:, None] + tl.dot(weights.to(value.dtype), value, input_precision="ieee")
        top = higher
    mixed = mixed / total[:, None]
    tl.store(out + row * o_row + head * o_head + i * o_beam + d, mixed.to(out.dtype.element_ty), mask=i < beams)
