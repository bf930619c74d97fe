"""The kernels against what they replace, through Triton's interpreter where there is no GPU."""

import os

import pytest

CHECK = """
import torch
from unembed_text.decoder.attention import attend, merge_heads, split_heads
from unembed_text.kernels.attention import attention, fits
from unembed_text.kernels.linear import add_linear, fits as products, norm_linear
from unembed_text.kernels.cached_attention import append, beam_attention, lone_attention, single_attention
from unembed_text.kernels.vocabulary import argmax_token, logsumexp

torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"
heads, width = 3, 16
cases = (9, 9, 19, True, True), (33, 33, 4, True, False)  # bias gradients are summed over chunks of 16 rows
cases += (5, 40, 4, False, True), (17, 8, 4, False, True), (70, 100, 4, False, True)
for queries, keys, rows, own, masked in cases:
    joint = torch.randn(rows, queries, (3 if own else 1) * heads * width, device=device, requires_grad=True)
    pair = None if own else torch.randn(rows, keys, 2 * heads * width, device=device, requires_grad=True)
    bias = torch.randn(1, heads, queries, keys, device=device, requires_grad=True) if own else None
    mask = torch.zeros(rows, 1, 1, keys, device=device)
    mask[::3, ..., keys - 3 :] = -1e9
    assert fits(queries, keys, width) and not fits(queries, 129, width) and not fits(queries, keys, 24)
    out = attention(joint, pair, bias, mask if masked else None, heads)
    parts = joint.chunk(3, -1) if own else (joint, *pair.chunk(2, -1))
    added = (mask if masked else 0) + (0 if bias is None else bias)
    plain = merge_heads(attend(*(split_heads(part, heads) for part in parts), added))
    inputs = [x for x in (joint, pair, bias) if x is not None]
    grad = torch.randn_like(plain)
    pairs = zip((out, *torch.autograd.grad(out, inputs, grad)), (plain, *torch.autograd.grad(plain, inputs, grad)))
    for a, b in pairs:
        assert (a - b).norm() < 1e-5 * b.norm(), (queries, keys, own)
for rows, size, wide in (1, 96, 128), (5, 200, 256), (70, 128, 128), (9, 256, 384), (5, 512, 384), (65, 384, 128):
    shapes = (rows, size), (rows, wide), (size, wide), (65, size), (size + 128, size)
    x, y, weight, narrow, broad = (torch.randn(shape, device=device) for shape in shapes)
    whole = x + y @ weight.T
    torch.use_deterministic_algorithms(True)  # what isn't written is NaN
    squares = add_linear(x, y, weight)
    torch.use_deterministic_algorithms(False)
    assert (x - whole).norm() < 1e-5 * whole.norm() and torch.allclose(squares.sum(1), whole.square().sum(1), rtol=1e-5)
    normed = torch.nn.functional.rms_norm(whole, (size,), None, 1e-6)
    for after in (narrow, broad) if size % 128 == 0 else ():
        plain = normed @ after.T
        for relu, wanted in (False, plain), (True, plain.relu()):
            assert (norm_linear(x, after, squares, relu=relu) - wanted).norm() < 1e-5 * wanted.norm()
x, weight = torch.randn(5, 192), torch.randn(192, 128)
assert not products(5, weight) and not products(5, weight.T) and not products(513, torch.randn(128, 128))
assert products(512, torch.randn(512, 384)) and not products(5, torch.randn(256, 128).T)
buffer = torch.randn(2, 2, 40, heads * width, device=device)  # heads side by side, places with gaps
key, value = (split_heads(part, heads)[:, :, :33] for part in buffer)
query = torch.randn(2, heads, 1, width, device=device)
for shape in ((2, 1, 1, 33), (1, heads, 1, 33), (2, heads, 1, 33)):
    bias = torch.randn(shape, device=device)
    bias[..., 20:] = -1e9
    plain = torch.softmax(query @ key.transpose(2, 3) + bias, -1) @ value
    assert torch.allclose(single_attention(query, key, value, bias), plain, atol=1e-5), shape
key, value = torch.randn(2, 2, heads, 150, width, device=device)  # more keys than a tile has
for shown in (40, 64, 150):
    bias = torch.randn(2, 1, 1, 150, device=device)
    bias[..., :3] = bias[..., shown:] = -1e9
    plain = torch.softmax(query @ key.transpose(2, 3) + bias, -1) @ value
    assert torch.allclose(single_attention(query, key, value, bias), plain, atol=1e-5), shown
new = torch.randn(2, 2, 1, 3, heads * width, device=device)[..., 1, :]
new = [split_heads(part, heads) for part in new]
for slot in (0, 1, 31, 32, 33, 69):
    bias = torch.randn(1, heads, 1, 80, device=device)
    bias[..., slot + 1 :] = -1e9
    buffers = torch.randn(2, 2, heads, 80, width, device=device)
    buffers[..., slot:, :] = torch.nan  # what isn't written yet isn't looked at
    where = torch.tensor([slot], device=device)
    plain = [part.index_copy(2, where, given) for part, given in zip(buffers, new)]
    mixed = attend(query, *(part[:, :, : slot + 1] for part in plain), bias[..., : slot + 1])
    assert torch.allclose(lone_attention(query, *new, *buffers, where, bias), mixed, atol=1e-5), slot
    assert all(torch.equal(part[:, :, : slot + 1], wanted[:, :, : slot + 1]) for part, wanted in zip(buffers, plain))
hidden = torch.full((2, 1, 1, 33), -1e9, device=device)
key, value = torch.randn(2, 2, heads, 33, width, device=device)
assert (single_attention(query, key, value, hidden) == 0).all()
query = torch.randn(2, 5, heads, width, device=device).transpose(1, 2)  # five beams
seen = torch.rand(2, 5, 70, device=device) < 0.4
seen[..., 0] = True
for keys, shape in ((33, (2, 1, 1, 33)), (33, (1, heads, 1, 33)), (70, (1, heads, 1, 70))):
    key, value = torch.randn(2, 2, heads, 80, width, device=device)[..., :keys, :]
    bias = torch.randn(shape, device=device)
    for own in (None, seen[..., :keys]):
        scores = query @ key.transpose(2, 3) + bias
        plain = torch.softmax(scores if own is None else scores.masked_fill(~own[:, None], -torch.inf), -1) @ value
        assert torch.allclose(beam_attention(query, key, value, bias, own), plain, atol=1e-5), (keys, shape)
key, value = torch.randn(2, 2, heads, 150, width, device=device)  # one beam over more keys than a tile has
plain = torch.softmax(query[:, :, :1] @ key.transpose(2, 3), -1) @ value
nothing = torch.zeros(1, 1, 1, 150, device=device)
assert torch.allclose(beam_attention(query[:, :, :1], key, value, nothing, None), plain, atol=1e-5)
where = torch.tensor([4, 5, 6, 9, 2], device=device)
new = torch.randn(2, 2, 5, 3, heads * width, device=device)[..., 1, :]
new = [split_heads(part, heads) for part in new]
buffers = torch.randn(2, 2, heads, 12, width, device=device)
plain = [part.index_copy(2, where, given) for part, given in zip(buffers, new)]
append(*buffers, *new, where)
assert all(torch.equal(part, wanted) for part, wanted in zip(buffers, plain))
x = torch.randn(3, 5, 9001, device=device) * 3
x[..., 7] = -torch.inf
assert torch.allclose(logsumexp(x), x.logsumexp(-1), atol=1e-5)
x = torch.randint(9, (6, 1, 9001), device=device).float()  # many are equal
x[1, 0, 2] = x[2, 0, 2] = 20  # the end
x[3, 0, 0] = 20  # the pad
x[4] = -torch.inf
x[4, 0, 9000] = -50
never = torch.tensor([0, 1], device=device)
for first in (False, True):
    done, texts = torch.tensor([False] * 5 + [True], device=device), torch.full((6, 1, 7), 8, device=device)
    last = argmax_token(x, never, 2, 0, done, texts, torch.tensor([3], device=device), first)
    plain = x.index_fill(2, never, -torch.inf)
    if first:
        plain[..., 2] = -torch.inf
    plain = plain.argmax(-1)
    over = (plain[:, 0] == 2) | (torch.arange(6, device=device) == 5)
    assert torch.equal(done, over) and over.sum() == (1 if first else 3)
    assert torch.equal(last, plain.masked_fill(over[:, None], 0)) and torch.equal(texts[..., 3], last)
    assert (texts[..., [0, 1, 2, 4, 5, 6]] == 8).all()
print("same")
"""


@pytest.mark.slow
def test_kernels_compute_what_they_replace(forking) -> None:
    pytest.importorskip("triton", reason="Triton comes with the CUDA builds of torch")
    import torch

    environment = dict(os.environ)
    if not torch.cuda.is_available():
        environment["TRITON_INTERPRET"] = "1"
    found = forking.run("-c", CHECK, env=environment)
    assert found.stdout == "same\n", found.stderr[-2000:]
