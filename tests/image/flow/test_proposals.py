"""Candidates: images that differ; corrections keep to the hypothesis and climb where the surrogate is right."""

import pytest
import torch
from torch.nn import functional as F

from unembed_image.methods.flow.proposals import corrections, guesses
from unembed_image.networks.network import ImageNetwork

DRAW = torch.Generator().manual_seed(1)
TARGET, SIGNALS = torch.rand(3, 8, generator=DRAW), torch.rand(3, 3, 16, 16, generator=DRAW)
BEGIN = torch.tensor([[0.9, 0.5, 0.5]]).expand(3, -1)


def network(**changes) -> ImageNetwork:
    torch.manual_seed(0)
    sizes = {"dimension": 8, "size": 16, "width": 64, "depth": 1, "channels": 4, "space": "plain"}
    return ImageNetwork(**{**sizes, **changes})


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_candidates_differ_and_come_again_by_their_seed() -> None:
    made = network()
    for propose in (
        lambda draw: guesses(made, TARGET, 3, draw),
        lambda draw: corrections(made, TARGET, SIGNALS, TARGET.flip(0), BEGIN, draw),
    ):
        a = propose(seeded(0))
        assert a.shape == (3, 3, 3, 16, 16) and torch.equal(a, propose(seeded(0)))
        assert not torch.equal(a, propose(seeded(1))) and torch.equal(propose(None), propose(None))
        assert all(len(torch.unique(row, dim=0)) == 3 for row in a)
        assert torch.equal(a, (a * 255).round() / 255) and a.min() >= 0 and a.max() <= 1


def test_corrections_leave_what_they_are_given_and_no_gradients() -> None:
    made, given = network(), [TARGET.clone(), SIGNALS.clone(), TARGET.flip(0)]
    corrections(made, *given, BEGIN, seeded(0))
    assert torch.equal(given[0], TARGET) and torch.equal(given[1], SIGNALS) and not SIGNALS.requires_grad
    assert all(p.grad is None for p in made.parameters())


def perfect(made: ImageNetwork, monkeypatch) -> None:
    """A denoiser that knows the image: what it is given without the noise, which is little."""
    monkeypatch.setattr(made.denoiser, "forward", lambda noisy, time, target: noisy / time[:, None, None, None])


@pytest.mark.parametrize("space", ["plain", "log"])
def test_corrections_climb_when_the_surrogate_is_the_black_box_but_for_a_shift(space, monkeypatch) -> None:
    """What it says is off by a constant, which the known embedding of the hypothesis corrects."""
    made, off = network(space=space), torch.randn(8, generator=DRAW)
    perfect(made, monkeypatch)

    def embed(images: torch.Tensor) -> torch.Tensor:
        shifted = (made.predict(images) + 0.3 * off).detach()
        return shifted.softmax(-1) if space == "log" else F.normalize(shifted, dim=-1)

    target, start = embed(SIGNALS), torch.full_like(SIGNALS, 0.5)
    begin = torch.full((3, 1), 0.999)
    found = corrections(made, target, start, embed(start), begin, seeded(0))[:, 0]
    place = {True: lambda x: x.log(), False: lambda x: x}[space == "log"]
    before, after = (made.loss(place(embed(images)), target) for images in (start, found))
    assert (after < before).all()


def test_a_guess_follows_the_flow(monkeypatch) -> None:
    """Whatever the noise, it ends at what the denoiser returns, but for the surrogate's nudges."""
    made = network()
    monkeypatch.setattr(made.denoiser, "forward", lambda noisy, time, target: torch.full_like(noisy, 0.5))
    found = guesses(made, TARGET, 2, seeded(0))
    assert (found - 0.75).abs().mean() < 0.05
