"""A decoding step's matrix products on CUDA devices, with what comes before and after them.

A token of a few hundred texts is a product of few rows: too small to keep a GPU busy, so what counts is how many
kernels wait for each other, and how long each takes to begin. One kernel here takes the place of up to three: T5's
norm, the product and a ReLU, or the product and a residual sum. What a norm divides by is told by the kernel that made
the rows: each of its programs has a part of the sum of their squares. From Hopper on a kernel is launched while the one
before it runs, and fetches its weights meanwhile. None has a gradient.
"""

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["add_linear", "early", "fits", "norm_linear"]

MOST = 512  # rows; with more a GPU is busy enough
LINE = tl.constexpr(64)  # numbers that a GPU fetches at once
TALL = 64  # rows of a tile, also where there are fewer: a kernel for each number would have to be compiled
NARROW, WIDE = 32, 128  # columns of a tile: of sums and of products that are no wider than what they read, of others


def fits(rows: int, weight: Tensor) -> bool:
    """Whether sums of so many rows with `weight` `[size, width]`, and products of these, are small and fill tiles."""
    size, width = weight.shape
    return rows <= MOST and size % 128 == width % 128 == 0 and weight.is_contiguous()


def norm_linear(x: Tensor, weight: Tensor, squares: Tensor, *, relu: bool = False) -> Tensor:
    """Rows `x` `[N, width]` over the root of their mean square, times `weight` `[size, width]`: `[N, size]`.

    `squares` `[N, parts]` sum to those of the rows, as `add_linear` gives them.
    """
    out = x.new_empty(len(x), len(weight))
    wide = WIDE if len(weight) > x.shape[1] else NARROW
    _launch(x, weight, squares, out, wide, NORM=True, RELU=relu)
    return out


def add_linear(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Add rows `y` `[N, width]` times `weight` `[size, width]` to `x` `[N, size]`: the parts of its sums of squares."""
    squares = torch.empty(len(x), triton.cdiv(len(weight), NARROW), dtype=torch.float32, device=x.device)
    _launch(y, weight, squares, x, NARROW, PLUS=True)
    return squares


@cache
def early(device: torch.device) -> dict[str, bool]:
    """Options of a kernel that is launched before the one that it waits for has ended, where a device can do that."""
    nvidia = device.type == "cuda" and torch.version.hip is None
    if nvidia and torch.cuda.get_device_capability(device) >= (9, 0):
        return {"EARLY": True, "launch_pdl": True}
    return {"EARLY": False}


def _launch(x: Tensor, weight: Tensor, squares: Tensor, out: Tensor, wide: int, **does: bool) -> None:
    (rows, width), size = x.shape, len(weight)
    deep, warps, stages = (64, 8, 3) if wide == WIDE else (64 if width <= size else 128, 4, 5)
    _linear[(triton.cdiv(size, wide), triton.cdiv(rows, TALL))](
        x, weight, squares, out, rows, size, x.stride(0), out.stride(0), squares.shape[1],
        WIDTH=width, PARTS=triton.next_power_of_2(squares.shape[1]), TM=TALL, TN=wide, TK=deep,
        num_warps=warps, num_stages=stages, **{"NORM": False, "PLUS": False, "RELU": False} | does | early(x.device),
    )  # fmt: skip


@triton.jit(do_not_specialize=["rows"])
def _linear(
    x, weight, squares, out, rows, size, x_row, out_row, parts,
    NORM: tl.constexpr, PLUS: tl.constexpr, RELU: tl.constexpr, WIDTH: tl.constexpr, PARTS: tl.constexpr,
    TM: tl.constexpr, TN: tl.constexpr, TK: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(1) * TM + tl.arange(0, TM)
    j = tl.program_id(0) * TN + tl.arange(0, TN)
    k = tl.arange(0, TK)
    inside, column = (i < rows)[:, None], (j < size)[None, :]
    if EARLY:
        if tl.program_id(1) == 0:
            _fetch(weight + tl.minimum(j, size - 1)[:, None] * WIDTH, WIDTH)
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()
    x += i[:, None] * x_row + k[None, :]
    weight += j[None, :] * WIDTH + k[:, None]
    total = tl.zeros([TM, TN], tl.float32)
    for start in range(0, WIDTH, TK):
        part = tl.load(x + start, mask=inside, other=0.0)
        total = tl.dot(part, tl.load(weight + start, mask=column, other=0.0), total, input_precision="ieee")
    if NORM:
        part = tl.arange(0, PARTS)[None, :]
        square = tl.load(squares + i[:, None] * parts + part, mask=inside & (part < parts), other=0.0)
        total *= tl.rsqrt(tl.sum(square, 1) / WIDTH + 1e-6)[:, None]
    if RELU:
        total = tl.maximum(total, 0.0)
    out += i[:, None] * out_row + j[None, :]
    if PLUS:
        total += tl.load(out, mask=inside & column, other=0.0).to(tl.float32)
        tl.store(squares + i * parts + tl.program_id(0), tl.sum(total * total, 1), mask=i < rows)
    tl.store(out, total.to(out.dtype.element_ty), mask=inside & column)


@triton.jit
def _fetch(rows, WIDTH: tl.constexpr):
    # Bring rows `[TN, 1]` of weights into the GPU's cache.
    lines = LINE * tl.arange(0, 8)[None, :]
    for start in range(0, WIDTH, 8 * LINE):
        tl.inline_asm_elementwise(
            "prefetch.global.L2 [$1]; mov.u32 $0, 0;", "=r,l", [rows + tl.minimum(start + lines, WIDTH - LINE)],
            dtype=tl.int32, is_pure=False, pack=1,
        )  # fmt: skip
