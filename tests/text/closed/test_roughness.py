"""Rough targets: how many, how rough, and what the network is told of it."""

import pytest
import torch
from torch.nn import functional as F

from unembed_text.methods.closed.roughness import EXACT, LEAST, MOST, erring, features, roughened


@pytest.fixture(scope="module")
def made() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    vectors = F.normalize(torch.randn(4000, 384, generator=draw), dim=-1)
    return vectors, *roughened(vectors, share=0.5, untold=0.1, generator=draw)


def test_about_the_share_is_rough_and_about_as_many_as_said_are_untold(made) -> None:
    vectors, rough, noise = made
    exact = (rough == vectors).all(1)
    assert abs(exact.float().mean() - 0.5) < 0.03 and abs(noise.isnan().float().mean() - 0.1) < 0.02
    assert ((noise == 0) == (exact & ~noise.isnan())).all()


def test_noise_is_the_standard_deviation_of_a_value_s_error(made) -> None:
    vectors, rough, noise = made
    told = noise > 0
    found = (rough - vectors)[told].std(1)
    assert torch.allclose(found / noise[told], torch.ones(()), atol=0.25)
    assert noise[told].max() <= MOST and noise[told].min() > LEAST / 3


def test_some_rough_vectors_are_rounded(made) -> None:
    _, rough, _ = made
    scaled = rough / rough.abs().amax(1, keepdim=True) * 127
    eight = ((scaled - scaled.round()).abs() < 1e-3).all(1)
    decimals = ((rough * 1e3 - (rough * 1e3).round()).abs() < 1e-3).all(1)
    assert 0.05 < eight.float().mean() < 0.1 and 0.05 < decimals.float().mean() < 0.1


def test_exact_vectors_are_told_as_zeros_and_unknown_ones_apart() -> None:
    found = features(torch.tensor([0.0, EXACT / 2, 0.01, torch.nan]))
    assert not found[:2].any()
    assert found[2, 0] > 4 and found[2, 1] == 0
    assert found[3, 0] == 0 and found[3, 1] > 0


def test_erring_targets_are_off_by_errors_of_all_sizes() -> None:
    draw = torch.Generator().manual_seed(0)
    vectors, errors = (F.normalize(torch.randn(n, 64, generator=draw), dim=-1) for n in (4000, 3))
    off, noise = erring(vectors, errors, share=0.9, untold=0.1, generator=draw)
    along = (off - vectors) @ torch.linalg.pinv(errors)
    sizes = along.abs().sum(1)
    assert torch.allclose(off - vectors, along @ errors, atol=1e-5)  # of nothing but the errors
    assert abs((sizes < 1e-6).float().mean() - 0.1) < 0.03 and sizes.max() <= 1.001
    assert abs(sizes[sizes > 1e-6].mean() - 0.5) < 0.03 and abs(noise.isnan().float().mean() - 0.1) < 0.02
    told = ~noise.isnan()
    assert torch.allclose(noise[told] * 8, sizes[told], atol=1e-4)  # unit errors of 64 values
