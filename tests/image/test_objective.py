"""The losses together: every parameter learns, the student learns apart, shares of 0 cost nothing."""

import pytest
import torch

from unembed_image.network import ImageNetwork
from unembed_image.objective import ImageObjective

DRAW = torch.Generator().manual_seed(1)
TARGET, SIGNALS = torch.rand(3, 8, generator=DRAW), torch.rand(3, 3, 16, 16, generator=DRAW)
CORRECTION = (TARGET, SIGNALS, SIGNALS.flip(0), TARGET.flip(0))


def objective(**shares) -> ImageObjective:
    torch.manual_seed(0)
    network = ImageNetwork(dimension=8, size=16, width=4, depth=1, space="plain")
    return ImageObjective(network, **{"pixel": 1.0, "student": 1.0, **shares})


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("rows", [2, 4], ids=["guess", "correction"])
def test_every_parameter_learns(half, rows) -> None:
    made = objective()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        made(*CORRECTION[:rows]).backward()
    assert not {name for name, p in made.named_parameters() if p.grad is None}


@pytest.mark.parametrize("half", [False, True])
def test_the_student_does_not_learn_to_please_the_painter(half) -> None:
    """Its gradient is that of its own miss, whatever the painter's is."""
    made = objective()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        made(*CORRECTION).backward()
    student = made.network.student
    found = [p.grad.clone() for p in student.parameters()]
    made.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        made.network.miss(student(SIGNALS.flip(0)), TARGET.flip(0)).mean().backward()
    assert all(torch.allclose(a, p.grad, atol=1e-5) for a, p in zip(found, student.parameters(), strict=True))


def test_shares_of_zero_cost_nothing() -> None:
    for shares, told in (({"student": 0}, {"pixel", "student"}), ({"pixel": 0}, {"seen", "student"})):
        made = objective(**shares)
        made(TARGET, SIGNALS)
        assert set(made.tally.read()) == told


def test_the_parts_of_the_loss_are_told_once() -> None:
    made = objective()
    total = made(*CORRECTION).item()
    told = made.tally.read()
    assert set(told) == {"pixel", "seen", "student_painted"}
    assert sum(told.values()) == pytest.approx(total, rel=1e-5) and made.tally.read() == {}
