"""The schedule by hand, and steps that follow each tensor's scale."""

import pytest
import torch

from unembed.training.optimizer import optimizer, rate_at


@pytest.mark.parametrize(
    ("step", "progress", "wanted"),
    [(0, 0.0, 0.1), (4, 0.0, 0.5), (50, 0.2, 1.0), (50, 0.7, 1.0), (50, 0.85, 0.5), (50, 1.0, 0.0), (50, 1.2, 0.0)],
)
def test_rate_at_warms_up_holds_and_decays(step, progress, wanted) -> None:
    assert rate_at(step, progress, warmup=10, decay=0.3) == pytest.approx(wanted)


def test_rate_at_without_decay_holds_to_the_end() -> None:
    assert rate_at(50, 0.999, warmup=10, decay=0.0) == 1.0


def test_optimizer_steps_in_proportion_to_the_tensor() -> None:
    big, small = (torch.nn.Parameter(torch.full((4, 4), value)) for value in (8.0, 0.125))
    made = optimizer([big, small], rate=0.01, weight_decay=0.0)
    (big.sum() + small.sum()).backward()
    made.step()
    assert (8.0 - big).mean().item() == pytest.approx(0.08, rel=1e-3)
    assert (0.125 - small).mean().item() == pytest.approx(0.00125, rel=1e-3)
