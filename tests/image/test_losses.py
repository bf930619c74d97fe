"""What a painting is judged by: shares of the gradient, frozen helpers, features of another network."""

import pytest
import torch

import unembed
from unembed_image.inverters import image_embedder
from unembed_image.losses import Critic, Perceptual, Student, balanced, frozen, pixel_distance

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


@pytest.mark.parametrize("helper", [lambda: Critic(8), lambda: Student(16, "plain")], ids=["critic", "student"])
def test_a_frozen_helper_passes_gradients_and_keeps_none(helper) -> None:
    torch.manual_seed(0)
    module, images = helper().eval(), IMAGES.clone().requires_grad_()
    assert torch.allclose(frozen(module, images), module(images), atol=1e-6)
    frozen(module, images).sum().backward()
    assert images.grad.abs().sum() > 0 and all(p.grad is None for p in module.parameters())


def test_a_student_learns_what_the_black_box_says() -> None:
    torch.manual_seed(0)
    student = Student(4, "log")
    wanted = torch.eye(4)
    optimizer = torch.optim.Adam(student.parameters(), 1e-3)
    losses = []
    for _ in range(12):
        loss = student.miss(student(IMAGES), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3


def test_students_misses_by_hand() -> None:
    said, wanted = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.9, 0.1]])
    kl = 0.9 * torch.log(torch.tensor(1.8)) + 0.1 * torch.log(torch.tensor(0.2))
    assert Student(2, "log").miss(said, wanted).item() == pytest.approx(kl.item(), rel=1e-5)
    said = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    assert Student(2, "plain").miss(said, torch.tensor([[1.0, 0.0], [1.0, 0.0]])).item() == pytest.approx(0.5)


def test_perceptual_sees_every_resolution_of_a_convolutional_network() -> None:
    judge = Perceptual(image_embedder("efficientnet-lite0", "cpu"), 64)
    sides = [tuple(found.shape[2:]) for found in judge.maps(IMAGES)]
    assert sides == [(32, 32), (16, 16), (8, 8), (4, 4), (2, 2), (1, 1)]
    made = (IMAGES + 0.1).clamp(0, 1).requires_grad_()
    near, far = judge(made, IMAGES), judge(IMAGES.flip(0), IMAGES)
    near.backward()
    assert 0 < near.item() < far.item() and made.grad.abs().sum() > 0
    assert judge(IMAGES, IMAGES).item() == pytest.approx(0, abs=1e-6)


def test_perceptual_wants_feature_maps(clip_folder) -> None:
    box = image_embedder(f"clip:{clip_folder}", "cpu")
    box.forward = lambda inputs: inputs.flatten(1)
    with pytest.raises(unembed.InputError, match="no feature maps"):
        Perceptual(box, None)
