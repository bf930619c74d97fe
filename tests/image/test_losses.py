"""What a painting is judged by: shares of the gradient, a frozen network, pixels."""

import pytest
import torch

from unembed_image.losses import balanced, frozen, pixel_distance
from unembed_image.network import Student

DRAW = torch.Generator().manual_seed(1)
IMAGES = torch.rand(4, 3, 32, 32, generator=DRAW)


def test_pixel_distance_by_hand() -> None:
    made, wanted = torch.zeros(2, 3, 16, 16), torch.zeros(2, 3, 16, 16)
    made[0] += 0.5  # as far at each of the resolutions 16, 8 and 4
    made[1, :, ::2] += 0.5  # stripes: half as far, the shape being nearly right
    assert torch.allclose(pixel_distance(made, wanted), torch.tensor([1.5, 0.75]))
    made[1] = torch.where(made[1] > 0, 0.5, -0.5)
    assert pixel_distance(made, wanted)[1].item() == pytest.approx(0.5)  # nothing left at lower resolutions


@pytest.mark.parametrize("scale", [1e-6, 1, 1e6])
def test_shares_hold_whatever_the_scale_of_a_loss(scale) -> None:
    made = IMAGES.clone().requires_grad_()
    (scale * balanced(made, 0.25).pow(2).sum()).backward()
    assert made.grad.norm().item() == pytest.approx(0.25 / made.numel() ** 0.5, rel=1e-4)
    assert torch.nn.functional.cosine_similarity(made.grad.flatten(), IMAGES.flatten(), dim=0) > 0.9999


def test_a_loss_without_gradient_leaves_none() -> None:
    made = IMAGES.clone().requires_grad_()
    (0 * balanced(made, 1.0)).sum().backward()
    assert (made.grad == 0).all()


def test_a_frozen_network_passes_gradients_and_keeps_none() -> None:
    torch.manual_seed(0)
    module, images = Student(16, 32, 4, 1), IMAGES.clone().requires_grad_()
    assert torch.allclose(frozen(module, images), module(images), atol=1e-6)
    frozen(module, images).sum().backward()
    assert images.grad.abs().sum() > 0 and all(p.grad is None for p in module.parameters())
