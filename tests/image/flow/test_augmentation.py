"""Training images in other cuts and colours."""

import torch

from unembed_image.methods.flow.augmentation import varied

DRAW = torch.Generator().manual_seed(1)
IMAGES = torch.rand(64, 3, 16, 16, generator=DRAW)


def test_nothing_but_mirroring_without_reach() -> None:
    made = varied(IMAGES, 0.0, torch.Generator().manual_seed(0))
    kept = (made - IMAGES).abs().flatten(1).amax(1) < 1.01 / 255
    mirrored = (made - IMAGES.flip(-1)).abs().flatten(1).amax(1) < 1.01 / 255
    assert (kept ^ mirrored).all() and 16 < kept.sum() < 48


def test_images_vary_within_reach_and_repeat_by_seed() -> None:
    a, b, c = (varied(IMAGES, 0.4, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert a.shape == IMAGES.shape and a.min() >= 0 and a.max() <= 1 and torch.equal(a, (a * 255).round() / 255)
    grey = torch.full((64, 3, 16, 16), 0.5)
    levels = varied(grey, 0.4, torch.Generator().manual_seed(0)).mean((1, 2, 3))
    assert 0.5 * 0.8 - 0.01 < levels.min() < 0.45 and 0.55 < levels.max() < 0.5 * 1.2 + 0.01


def test_a_cut_lies_within_the_image() -> None:
    """A ramp from left to right keeps its order, steeper never, and what it shows is part of the ramp."""
    ramp = torch.linspace(0, 1, 16).expand(64, 3, 16, 16)
    made = varied(ramp, 0.3, torch.Generator().manual_seed(0))
    span = (made[..., -1] - made[..., 0]).abs()
    assert (span > 0.6 * 0.8).all() and (span <= 1).all()
