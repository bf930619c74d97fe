"""Edits: small, all different; put together they go where the black box says."""

import pytest
import torch
from torch.nn import functional as F

from unembed.engine.effort import Effort
from unembed.engine.limits import Limits
from unembed.engine.loop import search
from unembed.engine.moves import Combine, Correct, Move
from unembed_image.methods.flow.edits import Edit
from unembed_image.networks.network import ImageNetwork

DRAW = torch.Generator().manual_seed(1)


def editor(space: str = "plain", dimension: int = 8) -> Edit:
    torch.manual_seed(0)
    return Edit(ImageNetwork(dimension=dimension, size=16, width=64, depth=1, channels=4, space=space))


def test_edits_are_images_that_differ() -> None:
    target, images = torch.rand(2, 8, generator=DRAW), torch.rand(2, 3, 16, 16, generator=DRAW)
    made = editor().correct(target, images, target.flip(0), 20, torch.Generator().manual_seed(0))
    assert made.shape == (2, 20, 3, 16, 16) and made.min() >= 0 and made.max() <= 1
    assert torch.equal(made, (made * 255).round() / 255)
    assert all(len(torch.unique(row, dim=0)) == 20 for row in made)
    assert 0 < (made - images[:, None]).abs().max() < 0.1
    again = editor().correct(target, images, target.flip(0), 20, torch.Generator().manual_seed(0))
    assert torch.equal(made, again)


def test_edits_of_what_lacks_nothing_are_smooth_noise() -> None:
    target, images = torch.rand(2, 8, generator=DRAW), torch.rand(2, 3, 16, 16, generator=DRAW)
    made = editor().correct(target, images, target.clone(), 5, torch.Generator().manual_seed(0))
    assert all(len(torch.unique(row, dim=0)) == 5 for row in made) and made.isfinite().all()


def test_edits_have_little_in_common() -> None:
    target, images = torch.rand(2, 32, generator=DRAW), 0.2 + 0.6 * torch.rand(2, 3, 16, 16, generator=DRAW)
    made = editor(dimension=32).correct(target, images, target.flip(0), 12, torch.Generator().manual_seed(0))
    changes = F.normalize((made - images[:, None]).flatten(2), dim=2)
    assert ((changes @ changes.mT).abs() - torch.eye(12)).max() < 0.35  # rounded to levels, they aren't quite apart


@pytest.mark.parametrize("space", ["plain", "log"])
def test_combined_edits_reach_what_no_edit_does(space) -> None:
    """A black box that is all but linear, of which the surrogate knows nothing."""
    edit = editor(space, 6)
    draw = torch.Generator().manual_seed(2)
    matrix = torch.randn(6, 3 * 16 * 16, generator=draw) / 16
    start, there = 0.25 + 0.5 * torch.rand(2, 3, 16, 16, generator=draw)

    def embed(images):
        said = images.flatten(1) @ matrix.T
        return said.softmax(1) if space == "log" else said

    def missed(images):
        return edit.network.loss(embed(images).log() if space == "log" else embed(images), embed(there[None]))

    target, before = embed(there[None]), embed(start[None])
    edits = edit.correct(target, start[None], before, 24, draw)
    answers = embed(edits[0])[None]
    made = edit.combine(target, start[None], before, edits, answers, 8)
    assert made.shape == (1, 8, 3, 16, 16) and torch.equal(made, (made * 255).round() / 255)
    nearest = missed(edits[0]).min()
    assert missed(made[0]).min() < 0.3 * nearest < 0.3 * missed(start[None])
    more, said = torch.cat([edits, made], 1), torch.cat([answers, embed(made[0])[None]], 1)
    again = edit.combine(target, start[None], before, more, said, 8)
    assert missed(again[0]).min() < missed(made[0]).min()
    padded = torch.cat([edits, start[None, None].expand(-1, 200, -1, -1, -1)], 1)  # edits that are missing
    same = edit.combine(target, start[None], before, padded, torch.cat([answers, before.expand(1, 200, -1)], 1), 8)
    assert torch.allclose(same, made, atol=1.01 / 255)  # a level


def test_a_search_over_edits_finds_a_colour() -> None:
    """A black box that sees only the mean colour, and a denoiser that knows nothing: edits alone come there."""
    edit = editor(dimension=3)
    target = torch.tensor([[0.3, -0.2, -0.1]])
    grey = torch.full((1, 1, 3, 16, 16), 0.5) + torch.tensor([-0.05, 0.02, 0.02])[:, None, None]

    def reached(*moves: Move) -> float:
        found = search(
            target,
            embed=lambda images: images.mean((2, 3)) - 0.5,
            parts={
                "guess": lambda t, count, generator: grey.expand(len(t), count, -1, -1, -1),
                "correct": lambda t, h, e, count, generator: h[:, None].expand(-1, count, -1, -1, -1),
                **edit.parts("edit"),
            },
            effort=Effort(moves=(Correct(), *moves), beam=1, limits=Limits(steps=120)),
            similarity=lambda a, b: F.cosine_similarity(a, b),
        )
        return found.similarity.item()

    assert reached() < 0 and reached(Combine(count=16)) > 0.99
