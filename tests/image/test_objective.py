"""The losses together: every parameter learns, helpers learn apart, shares of 0 cost nothing."""

import pytest
import torch

from unembed_image.network import ImageNetwork
from unembed_image.objective import ImageObjective, Shares

DRAW = torch.Generator().manual_seed(1)
TARGET, SIGNALS = torch.rand(3, 8, generator=DRAW), torch.rand(3, 3, 16, 16, generator=DRAW)
CORRECTION = (TARGET, SIGNALS, SIGNALS.flip(0), TARGET.flip(0))


def objective(draws: int = 3, perceptual=None, **shares) -> ImageObjective:
    torch.manual_seed(0)
    painter = ImageNetwork(dimension=8, size=16, patch=8, width=16, layers=1, heads=2, tokens=2, noise=4, space="plain")
    return ImageObjective(painter, draws=draws, shares=Shares(**shares), perceptual=perceptual)


@pytest.mark.parametrize("half", [False, True])
def test_every_parameter_learns_from_a_correction(half) -> None:
    """Also in half precision, where weights cast for choosing among the draws must not be those that learn."""
    made = objective(student=1.0, critic=1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        made(*CORRECTION).backward()
    silent = {name for name, p in made.named_parameters() if p.grad is None}
    assert not silent


def test_helpers_do_not_learn_to_please_the_painter() -> None:
    """The student's gradient is that of its own two misses, whatever the painter's is."""
    made = objective(draws=1, student=1.0)
    made(*CORRECTION).backward()
    found = [p.grad.clone() for p in made.student.parameters()]
    made.zero_grad()
    student = made.student
    own = student.miss(student(SIGNALS), TARGET) + student.miss(student(SIGNALS.flip(0)), TARGET.flip(0))
    own.backward()
    assert all(torch.allclose(a, p.grad, atol=1e-5) for a, p in zip(found, student.parameters(), strict=True))


def test_shares_of_zero_make_no_helpers() -> None:
    made = objective()
    made(TARGET, SIGNALS)
    assert made.student is None and made.critic is None and set(made.tally.read()) == {"guess/pixel"}


def test_the_parts_of_the_loss_are_told_once() -> None:
    made = objective(student=1.0, critic=0.5, perceptual=lambda a, b: (a - b).pow(2).mean())
    total = made(*CORRECTION).item()
    told = made.tally.read()
    assert {name.partition("/")[2] for name in told} == {
        "pixel", "perceptual", "seen", "student", "student_painted", "unreal", "critic",
    }  # fmt: skip
    assert sum(told.values()) == pytest.approx(total, rel=1e-5) and made.tally.read() == {}


def test_more_draws_lower_the_loss() -> None:
    torch.manual_seed(3)
    one, many = (objective(draws=draws)(TARGET, SIGNALS).item() for draws in (1, 8))
    assert many <= one
