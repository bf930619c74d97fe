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

__all__ = ["fits", "fused_attention", "logsumexp", "rms_norm", "single_attention"]

LONGEST = 128  # positions of a tile
HIDDEN = -1e8  # a bias below it hides its position
ROWS = 16  # rows whose bias gradients one program adds up


def fits(queries: int, keys: int, width: int) -> bool:
    """Whether heads of `width` numbers over so many positions fit the kernel's tiles."""
    return max(queries, keys) <= LONGEST and width in (16, 32, 64, 128)


def fused_attention(joint: Tensor, pair: Tensor | None, bias: Tensor | None, mask: Tensor | None, heads: int) -> Tensor:
    """Attention with unscaled scores: `[N, L, H·d]`.

    Without `pair` the positions of `joint` `[N, L, 3·H·d]` (queries, keys, values) attend to each other; with it
    queries `joint` `[N, L, H·d]` attend to keys and values `pair` `[N, S, 2·H·d]`. `bias` `[1, H, L, S]` is added
    to every row's scores, `mask` `[N, 1, 1, S]` to those of its keys.
    """
    nothing = joint.new_empty(0)  # operators take no optional tensor of which a gradient is wanted
    pair = nothing if pair is None else pair.contiguous()
    bias = nothing if bias is None else bias[0].float().contiguous()
    mask = nothing if mask is None else mask[:, 0, 0].float().contiguous()
    return _attention(joint.contiguous(), pair, bias, mask, heads)


def logsumexp(x: Tensor) -> Tensor:
    """Over the last dimension of `[..., V]`, as float32 `[...]`, without a float32 copy of `x`."""
    rows = x.flatten(0, -2)
    out = torch.empty(len(rows), dtype=torch.float32, device=x.device)
    if len(rows):
        _logsumexp[(len(rows),)](rows, out, rows.stride(0), rows.shape[1], BLOCK=4096)
    return out.view(x.shape[:-1])


def rms_norm(weight: Tensor, x: Tensor) -> Tensor:
    """`x` `[..., W]` over the root of its mean square, times `weight`, computed in float32; without a gradient."""
    x = x.contiguous()
    out = torch.empty_like(x)
    width = x.shape[-1]
    if x.numel():
        _rms_norm[(x.numel() // width,)](x, weight, out, width, BLOCK=triton.next_power_of_2(width))
    return out


@torch.library.triton_op("unembed_text::single_attention", mutates_args=())
def single_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Attention of one query a row `[R, H, 1, d]` to `key` and `value` `[R, H, S, d]`, without a gradient.

    `bias` broadcasts to the scores `[R, H, 1, S]`. Each key and value that it doesn't hide is read once.
    """
    rows, heads, _, width = query.shape
    bias = bias.expand(rows, heads, 1, key.shape[2])
    out = query.new_empty(query.shape)
    torch.library.wrap_triton(_single)[(rows, heads)](
        query,
        key,
        value,
        bias,
        out,
        *query.stride()[:2],
        *key.stride()[:3],
        *value.stride()[:3],
        bias.stride(0),
        bias.stride(1),
        bias.stride(3),
        key.shape[2],
        TK=64 if key.shape[2] <= 64 else LONGEST,  # few tiles: decoding meets every length
        D=width,
        HIDDEN=HIDDEN,
        num_warps=2,
    )
    return out


@torch.library.custom_op("unembed_text::attention", mutates_args=())
def _attention(joint: Tensor, pair: Tensor, bias: Tensor, mask: Tensor, heads: int) -> Tensor:
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


@_attention.register_fake
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
    )
    return grads.joint, grads.pair, sums.sum(0) if bias.numel() else torch.empty_like(bias)


@_attention_backward.register_fake
def _(
    grad: Tensor, joint: Tensor, pair: Tensor, bias: Tensor, mask: Tensor, heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(joint), torch.empty_like(pair), torch.empty_like(bias)


def _save(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    *tensors, ctx.heads = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx, grad):  # type: ignore[no-untyped-def]
    return *_attention_backward(grad, *ctx.saved_tensors, ctx.heads), None, None


_attention.register_autograd(_differentiate, setup_context=_save)


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


@triton.jit(do_not_specialize=["keys"])
def _single(
    q, k, v, bias, out, q_row, q_head, k_row, k_head, k_place, v_row, v_head, v_place, b_row, b_head, b_place, keys,
    TK: tl.constexpr, D: tl.constexpr, HIDDEN: tl.constexpr,
):  # fmt: skip
    row, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    j, d = tl.arange(0, TK), tl.arange(0, D)
    inside = j < keys
    query = tl.load(q + row * q_row + head * q_head + d).to(tl.float32)
    added = tl.load(bias + row * b_row + head * b_head + j * b_place, mask=inside, other=-1e30)
    seen = (added > HIDDEN)[:, None]  # the rest isn't fetched
    at_k, at_v = row * k_row + head * k_head, row * v_row + head * v_head
    key = tl.load(k + at_k + j[:, None] * k_place + d[None, :], mask=seen, other=0.0).to(tl.float32)
    value = tl.load(v + at_v + j[:, None] * v_place + d[None, :], mask=seen, other=0.0).to(tl.float32)
    scores = tl.sum(key * query[None, :], 1) + added
    weights = tl.exp(scores - tl.max(scores, 0))
    mixed = tl.sum(value * weights[:, None], 0) / tl.sum(weights, 0)
    tl.store(out + (row * tl.num_programs(1) + head) * D + d, mixed.to(out.dtype.element_ty))


@triton.jit
def _rms_norm(x, weight, out, width, BLOCK: tl.constexpr):
    place = tl.arange(0, BLOCK)
    inside, at = place < width, tl.program_id(0).to(tl.int64) * width + place
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    value *= 1.0 / tl.sqrt(tl.sum(value * value, 0) / width + 1e-6)
    value *= tl.load(weight + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + at, value.to(out.dtype.element_ty), mask=inside)


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
