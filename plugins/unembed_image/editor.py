"""Small changes of an image, to be judged by the black box: how a search goes on where corrections stall."""

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed.interfaces import Corrector
from unembed_image.codec import levels
from unembed_image.network import ImageNetwork

__all__ = ["Edit"]

GRIDS = (2, 4, 8)  # sides of the fields that changes are drawn on, before they are enlarged to the image
TINT = 0.15  # largest standard deviation of a change of colour
SHARE = 8  # edits to one correction that they take parts of


class Edit(Corrector):
    """Half the edits take over, in random places and strengths, what a correction would change; half change colours.

    All are smooth: embeddings hardly see single pixels, and the corrector has drawn the detail.
    """

    def __init__(self, network: ImageNetwork) -> None:
        self.network = network

    def _correct(
        self,
        target: Tensor,
        hypothesis: Tensor,
        embedding: Tensor,
        count: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        corrections = -(-count // (2 * SHARE))
        warmth = torch.ones(len(target), corrections, device=target.device)
        moves = self.network.write(target, hypothesis, embedding, warmth, generator) - hypothesis[:, None]
        edits = []
        for number in range(count):
            fields = _smooth(hypothesis, 4, GRIDS[number // 2 % len(GRIDS)], generator)
            strength = torch.rand(len(target), 1, 1, 1, device=target.device, generator=generator)
            if number % 2:
                changed = hypothesis + TINT * strength**2 * fields[:, :3]
            else:
                changed = hypothesis + 2 * strength * fields[:, 3:].sigmoid() * moves[:, number // 2 % corrections]
            edits.append(levels(changed))
        return torch.stack(edits, 1)


def _smooth(like: Tensor, channels: int, grid: int, generator: torch.Generator | None) -> Tensor:
    """Normal noise on a coarse grid, enlarged: `[N, channels, H, W]` for images `[N, 3, H, W]`."""
    noise = torch.randn(len(like), channels, grid, grid, device=like.device, generator=generator)
    return F.interpolate(noise, like.shape[2:], mode="bicubic", align_corners=False)
