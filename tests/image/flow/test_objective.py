"""The losses together: every parameter learns, the denoiser and the surrogate each from their own."""

import pytest
import torch

from unembed_image.methods.flow.objective import ImageObjective
from unembed_image.networks.network import ImageNetwork

DRAW = torch.Generator().manual_seed(1)
TARGET, SIGNALS = torch.rand(3, 8, generator=DRAW), torch.rand(3, 3, 16, 16, generator=DRAW)
CORRECTION = (TARGET, SIGNALS, SIGNALS.flip(0), TARGET.flip(0))


def objective() -> ImageObjective:
    torch.manual_seed(0)
    return ImageObjective(ImageNetwork(dimension=8, size=16, width=64, depth=1, channels=4, space="plain"))


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("rows", [2, 4], ids=["guess", "correction"])
def test_every_parameter_learns(half, rows) -> None:
    made = objective()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        made(*CORRECTION[:rows]).backward()
    assert not {name for name, p in made.named_parameters() if p.grad is None or not p.grad.any()}


@pytest.mark.parametrize(("rows", "seen"), [(2, 0), (4, 2)], ids=["photographs", "hypotheses"])
def test_the_surrogate_learns_from_what_the_black_box_was_asked_about(rows, seen) -> None:
    made = objective()
    made(*CORRECTION[:rows]).backward()
    surrogate = made.network.surrogate
    found = [p.grad.clone() for p in surrogate.parameters()]
    made.zero_grad()
    images, answers = ((SIGNALS, TARGET), (SIGNALS.flip(0), TARGET.flip(0)))[seen // 2]
    made.network.loss(made.network.predict(images), answers).mean().backward()
    assert all(torch.allclose(a, p.grad, atol=1e-5) for a, p in zip(found, surrogate.parameters(), strict=True))


def test_a_denoiser_that_returns_the_photograph_has_no_loss(monkeypatch) -> None:
    made = objective()
    monkeypatch.setattr(made.network.denoiser, "forward", lambda noisy, time, target: 2 * SIGNALS - 1)
    made(TARGET, SIGNALS)
    assert made.tally.read()["denoise"] == 0
    monkeypatch.setattr(made.network.denoiser, "forward", lambda noisy, time, target: noisy)
    torch.manual_seed(0)
    made(TARGET, SIGNALS)  # noisy − image is the noise's share times (noise − image)
    assert made.tally.read()["denoise"] == pytest.approx(4 / 3, abs=0.1)  # the variances of both: 1 and 1/3


def test_the_parts_of_the_loss_are_told_once() -> None:
    made = objective()
    total = made(*CORRECTION).item()
    told = made.tally.read()
    assert set(told) == {"denoise", "surrogate_corrected"}
    assert sum(told.values()) == pytest.approx(total, rel=1e-5) and made.tally.read() == {}
