"""Candidates: images that differ, the first without chance; corrections climb where the student is right."""

import torch
from torch.nn import functional as F

from unembed_image.network import ImageNetwork
from unembed_image.proposals import corrections, guesses

DRAW = torch.Generator().manual_seed(1)
TARGET, SIGNALS = torch.rand(3, 8, generator=DRAW), torch.rand(3, 3, 16, 16, generator=DRAW)
WARMTH = torch.tensor([[0.0, 1.0, 1.0]]).expand(3, -1)


def network(**changes) -> ImageNetwork:
    torch.manual_seed(0)
    return ImageNetwork(**{"dimension": 8, "size": 16, "width": 4, "depth": 1, "space": "plain", **changes})


def test_first_candidates_need_no_chance_and_others_differ() -> None:
    made = network()
    for propose in (
        lambda seed: guesses(made, TARGET, WARMTH, torch.Generator().manual_seed(seed)),
        lambda seed: corrections(made, TARGET, SIGNALS, TARGET.flip(0), WARMTH, torch.Generator().manual_seed(seed)),
    ):
        a, b = propose(0), propose(1)
        assert a.shape == (3, 3, 3, 16, 16) and torch.equal(a[:, 0], b[:, 0]) and torch.equal(a, propose(0))
        assert not torch.equal(a[:, 1], b[:, 1]) and not torch.equal(a[:, 1], a[:, 2])
        assert torch.equal(a, (a * 255).round() / 255) and a.min() >= 0 and a.max() <= 1


def test_corrections_leave_what_they_are_given_and_no_gradients() -> None:
    made, given = network(), [TARGET.clone(), SIGNALS.clone(), TARGET.flip(0)]
    corrections(made, *given, WARMTH, torch.Generator().manual_seed(0))
    assert torch.equal(given[0], TARGET) and torch.equal(given[1], SIGNALS) and not SIGNALS.requires_grad
    assert all(p.grad is None for p in made.parameters())


def test_corrections_climb_when_the_student_is_the_black_box_but_for_a_shift() -> None:
    """What it says is off by a constant, which the known embedding of the hypothesis corrects."""
    made, off = network(), torch.randn(8, generator=DRAW)

    def embed(images: torch.Tensor) -> torch.Tensor:
        return (made.place(made.student(images)) + 0.3 * off).detach()

    target, start = embed(SIGNALS), torch.full_like(SIGNALS, 0.5)
    found = corrections(made, target, start, embed(start), torch.zeros(3, 1), None)[:, 0]
    before, after = (F.cosine_similarity(embed(images), target) for images in (start, found))
    assert (after > before).all()


def test_corrections_in_log_space_lower_the_divergence() -> None:
    made = network(space="log")
    target, start = made.student(SIGNALS).softmax(-1).detach(), torch.full_like(SIGNALS, 0.5)
    found = corrections(made, target, start, made.student(start).softmax(-1).detach(), torch.zeros(3, 1), None)[:, 0]
    before, after = (made.miss(made.student(images), target) for images in (start, found))
    assert (after < before).all()
