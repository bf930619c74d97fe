"""Edits: small, smooth, all different, and of use to a search."""

import torch

from unembed_image.editor import Edit
from unembed_image.network import ImageNetwork

DRAW = torch.Generator().manual_seed(1)


def editor() -> Edit:
    torch.manual_seed(0)
    return Edit(ImageNetwork(dimension=8, size=16, width=64, depth=1, channels=4, space="plain"))


def test_edits_are_images_that_differ() -> None:
    target, images = torch.rand(2, 8, generator=DRAW), torch.rand(2, 3, 16, 16, generator=DRAW)
    made = editor().correct(target, images, target.flip(0), 20, torch.Generator().manual_seed(0))
    assert made.shape == (2, 20, 3, 16, 16) and made.min() >= 0 and made.max() <= 1
    assert torch.equal(made, (made * 255).round() / 255)
    assert all(len(torch.unique(row, dim=0)) == 20 for row in made)
    again = editor().correct(target, images, target.flip(0), 20, torch.Generator().manual_seed(0))
    assert torch.equal(made, again)


def test_a_search_over_edits_finds_a_colour() -> None:
    """A black box that sees only the mean colour, and a painter that knows nothing: edits alone come near."""
    from unembed.loop import search

    def embed(images):
        return images.mean((2, 3)) - 0.5

    target = torch.tensor([[0.3, -0.2, -0.1]]).expand(1, -1)
    grey = torch.full((1, 1, 3, 16, 16), 0.5) + torch.tensor([-0.05, 0.02, 0.02])[:, None, None]

    def reached(edits: int) -> float:
        found = search(
            target,
            embed=embed,
            hypothesize=lambda t, count, generator: grey.expand(len(t), count, -1, -1, -1),
            correct=lambda t, h, e, count, generator: h[:, None].expand(-1, count, -1, -1, -1),
            edit=lambda t, h, e, count, generator: Edit(painter).correct(
                t.repeat(1, 3)[:, :8], h, e.repeat(1, 3)[:, :8], count, generator
            ),
            steps=20,
            beam=1,
            edits=edits,
        )
        return found.similarity.item()

    painter = editor().network
    assert reached(0) < 0 and reached(16) > 0.95
