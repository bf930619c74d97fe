"""Small changes of an image, to be judged by the black box: how a search goes on where corrections stall."""

import torch
from torch import Tensor

from unembed.interfaces import Corrector
from unembed_image.codec import levels
from unembed_image.network import ImageNetwork
from unembed_image.proposals import corrections, smooth_noise

__all__ = ["Edit"]

GRIDS = (2, 4, 8)  # sides of the fields that changes are drawn on, before they are enlarged to the image
TINT = 0.15  # largest standard deviation of a change of colour
SHARE = 8  # edits to one correction that they take parts of


class Edit(Corrector):
    """Half the edits take over, in random places and strengths, what a correction would change; half change colours.

    All are smooth: the corrector has drawn the detail.
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
        moves_made = -(-count // (2 * SHARE))
        begin = torch.rand(len(target), moves_made, device=target.device, generator=generator)
        moves = corrections(self.network, target, hypothesis, embedding, begin, generator) - hypothesis[:, None]
        edits = []
        for number in range(count):
            fields = smooth_noise(hypothesis, 4, GRIDS[number // 2 % len(GRIDS)], generator)
            strength = torch.rand(len(target), 1, 1, 1, device=target.device, generator=generator)
            if number % 2:
                changed = hypothesis + TINT * strength**2 * fields[:, :3]
            else:
                changed = hypothesis + 2 * strength * fields[:, 3:].sigmoid() * moves[:, number // 2 % moves_made]
            edits.append(levels(changed))
        return torch.stack(edits, 1)
