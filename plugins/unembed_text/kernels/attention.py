"""Attention over short sequences in one kernel a pass, for CUDA devices.

Windows of a few dozen tokens fit a tile: one program reads the queries, keys and values of a row and a head once,
keeps the scores in registers and writes the result once. Written out in full, scores and T5's position biases are
several times larger than everything else that a layer moves. The backward pass recomputes the scores (as Dao et al.,
*FlashAttention*, NeurIPS 2022, section 3.1) and sums the gradient of the shared biases over a chunk of rows in
registers, so that the result doesn't depend on the order in which programs run.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["LONGEST", "attention", "fits"]

LONGEST = 128  # positions of a tile
DEEP = 64  # positions of the longest tile of which several rows fit a multiprocessor's shared memory
ROWS = 16  # rows whose bias gradients one program adds up


def fits(queries: int, keys: int, width: int) -> bool:
    """Whether heads of `width` numbers over so many positions fit the kernel's tiles."""
    return max(queries, keys) <= LONGEST and width in (16, 32, 64, 128)


def attention(joint: Tensor, pair: Tensor | None, bias: Tensor | None, mask: Tensor | None, heads: int) -> Tensor:
    """Attention with unscaled scores: `[N, L, H·d]`.

    Without `pair` the positions of `joint` `[N, L, 3·H·d]` (queries, keys, values) attend to each other; with it
    queries `joint` `[N, L, H·d]` attend to keys and values `pair` `[N, S, 2·H·d]`. `bias` `[1, H, L, S]` is added
    to every row's scores, `mask` `[N, 1, 1, S]` to those of its keys.
    """
    nothing = joint.new_empty(0)  # operators take no optional tensor of which a gradient is wanted
    pair = nothing if pair is None else pair.contiguous()
    bias = nothing if bias is None else bias[0].float().contiguous()
    mask = nothing if mask is None else mask[:, 0, 0].float().contiguous()
    # Where an operator isn't needed, calling one costs several times what the launch does.
    plain = not (torch.is_grad_enabled() or torch.compiler.is_compiling())
    return (_attended if plain else _differentiable)(joint.contiguous(), pair, bias, mask, heads)


def _attended(joint: Tensor, pair: Tensor, bias: Tensor, mask: Tensor, heads: int) -> Tensor:
    view = _View(joint, pair, heads)
    out = joint.new_empty(view.rows, view.queries, view.width)
    _forward[(view.rows, heads)](
        *view.inputs,
        bias,
        mask,
        out,
        *view.strides,
        view.queries,
        view.keys,
        **view.tiles(bias, mask),
    )
    return out


_differentiable = torch.library.custom_op("unembed_text::attention", _attended, mutates_args=())


@_differentiable.register_fake
def _(joint: Tensor, pair: Tensor, bias: Tensor, mask: Tensor, heads: int) -> Tensor:
    width = joint.shape[2] if pair.numel() else joint.shape[2] // 3
    return joint.new_empty(joint.shape[0], joint.shape[1], width)


@torch.library.custom_op("unembed_text::attention_backward", mutates_args=())
def _attention_backward(
    grad: Tensor, joint: Tensor, pair: Tensor, bias: Tensor, mask: Tensor, heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    view = _View(joint, pair, heads)
    grads = _View(torch.empty_like(joint), torch.empty_like(pair), heads)
    chunks = triton.cdiv(view.rows, ROWS)
    sums = bias.new_empty(chunks, *bias.shape) if bias.numel() else bias
    _backward[(chunks, heads)](
        *view.inputs,
        bias,
        mask,
        grad.contiguous(),
        *grads.inputs,
        sums,
        *view.strides,
        view.rows,
        view.queries,
        view.keys,
        ROWS=ROWS,
        **view.tiles(bias, mask),
        **view.layout(),
    )
    return grads.joint, grads.pair, sums.sum(0) if bias.numel() else torch.empty_like(bias)


@_attention_backward.register_fake
def _(
    grad: Tensor, joint: Tensor, pair: Tensor, bias: Tensor, mask: Tensor, heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(joint), torch.empty_like(pair), torch.empty_like(bias)


def _save(ctx, inputs, output) -> None:
    *tensors, ctx.heads = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx, grad):
    return *_attention_backward(grad, *ctx.saved_tensors, ctx.heads), None, None


_differentiable.register_autograd(_differentiate, setup_context=_save)


class _View:
    """Where queries, keys and values lie in one or two contiguous tensors."""

    def __init__(self, joint: Tensor, pair: Tensor, heads: int) -> None:
        self.joint, self.pair = joint, pair
        self.rows, self.queries = joint.shape[:2]
        if pair.numel():
            self.keys, self.width = pair.shape[1], joint.shape[2]
            self.inputs = (joint, pair, pair[..., self.width :])
        else:
            self.keys, self.width = self.queries, joint.shape[2] // 3
            self.inputs = (joint, joint[..., self.width :], joint[..., 2 * self.width :])
        self.strides = (joint.stride(0), joint.stride(1), self.inputs[1].stride(0), self.inputs[1].stride(1))
        self.head = self.width // heads

    def tiles(self, bias: Tensor, mask: Tensor) -> dict[str, int | bool]:
        """The kernels' constants."""
        sides = (max(16, triton.next_power_of_2(side)) for side in (self.queries, self.keys))
        given = {"HAS_BIAS": bias.numel() > 0, "HAS_MASK": mask.numel() > 0}
        return {**given, **dict(zip(("TQ", "TK"), sides, strict=True)), "D": self.head}

    def layout(self) -> dict[str, int]:
        """Of the backward pass: long tiles fill shared memory, so the next rows aren't fetched meanwhile."""
        return {"num_warps": 8, "num_stages": 1} if max(self.queries, self.keys) > DEEP else {}


@triton.jit(do_not_specialize=["queries", "keys"])
def _forward(
    q, k, v, bias, mask, out, q_row, q_place, k_row, k_place, queries, keys,
    HAS_BIAS: tl.constexpr, HAS_MASK: tl.constexpr, TQ: tl.constexpr, TK: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    row, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    i, j, d = tl.arange(0, TQ)[:, None], tl.arange(0, TK), head * D + tl.arange(0, D)[None, :]
    at_q, at_k = row * q_row + i * q_place + d, row * k_row + j[:, None] * k_place + d
    in_q, in_k = i < queries, j[:, None] < keys
    p = _weights(q, k, bias, mask, at_q, at_k, in_q, in_k, i, j, row, head, queries, keys, HAS_BIAS, HAS_MASK)
    values = tl.load(v + at_k, mask=in_k, other=0.0)
    mixed = tl.dot(p.to(values.dtype), values, input_precision="ieee")
    width = tl.num_programs(1) * D
    tl.store(out + (row * queries + i) * width + d, mixed.to(values.dtype), mask=in_q)


@triton.jit(do_not_specialize=["rows", "queries", "keys"])
def _backward(
    q, k, v, bias, mask, grad, q_grad, k_grad, v_grad, bias_grad, q_row, q_place, k_row, k_place, rows, queries, keys,
    ROWS: tl.constexpr,
    HAS_BIAS: tl.constexpr, HAS_MASK: tl.constexpr, TQ: tl.constexpr, TK: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    chunk, head = tl.program_id(0), tl.program_id(1)
    first = chunk.to(tl.int64) * ROWS
    i, j, d = tl.arange(0, TQ)[:, None], tl.arange(0, TK), head * D + tl.arange(0, D)[None, :]
    in_q, in_k = i < queries, j[:, None] < keys
    width = tl.num_programs(1) * D
    total = tl.zeros([TQ, TK], tl.float32)
    for step in range(0, min(ROWS, rows - chunk * ROWS)):
        row = first + step
        at_q, at_k = row * q_row + i * q_place + d, row * k_row + j[:, None] * k_place + d
        p = _weights(q, k, bias, mask, at_q, at_k, in_q, in_k, i, j, row, head, queries, keys, HAS_BIAS, HAS_MASK)
        query = tl.load(q + at_q, mask=in_q, other=0.0)
        key, value = tl.load(k + at_k, mask=in_k, other=0.0), tl.load(v + at_k, mask=in_k, other=0.0)
        out_grad = tl.load(grad + (row * queries + i) * width + d, mask=in_q, other=0.0)
        value_grad = tl.dot(tl.trans(p.to(value.dtype)), out_grad, input_precision="ieee")
        p_grad = tl.dot(out_grad, tl.trans(value), input_precision="ieee")
        s_grad = p * (p_grad - tl.sum(p * p_grad, 1)[:, None])
        if HAS_BIAS:
            total += s_grad
        s_grad = s_grad.to(query.dtype)
        query_grad = tl.dot(s_grad, key, input_precision="ieee")
        key_grad = tl.dot(tl.trans(s_grad), query, input_precision="ieee")
        tl.store(q_grad + at_q, query_grad.to(query.dtype), mask=in_q)
        tl.store(k_grad + at_k, key_grad.to(query.dtype), mask=in_k)
        tl.store(v_grad + at_k, value_grad.to(query.dtype), mask=in_k)
    if HAS_BIAS:
        place = ((chunk * tl.num_programs(1) + head) * queries + i) * keys + j[None, :]
        tl.store(bias_grad + place, total, mask=in_q & (j[None, :] < keys))


@triton.jit
def _weights(
    q, k, bias, mask, at_q, at_k, in_q, in_k, i, j, row, head, queries, keys,
    HAS_BIAS: tl.constexpr, HAS_MASK: tl.constexpr,
):  # fmt: skip
    query, key = tl.load(q + at_q, mask=in_q, other=0.0), tl.load(k + at_k, mask=in_k, other=0.0)
    scores = tl.dot(query, tl.trans(key), input_precision="ieee")
    inside = j[None, :] < keys
    if HAS_BIAS:
        scores += tl.load(bias + (head * queries + i) * keys + j[None, :], mask=in_q & inside, other=0.0)
    if HAS_MASK:
        scores += tl.load(mask + row * keys + j, mask=j < keys, other=0.0)[None, :]
    scores = tl.where(inside, scores, -1e30)
    scores = tl.exp(scores - tl.max(scores, 1)[:, None])
    return scores / tl.sum(scores, 1)[:, None]
