"""Training images that are never quite the same twice; what the black box says of each is asked anew."""

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed_image.codec import levels

__all__ = ["varied"]


def varied(pixels: Tensor, reach: float, generator: torch.Generator) -> Tensor:
    """Images `[N, 3, H, W]`, half of them mirrored, cut to squares of 1 − `reach` to 1 of the side, in other colours.

    Brightness, contrast and saturation change by up to half of `reach`. All chance comes from the CPU `generator`.
    """
    count = len(pixels)
    draws = (2 * torch.rand(6, count, generator=generator) - 1).to(pixels.device)  # each from −1 to 1
    side = 1 - reach * draws[0].abs()
    mirror = torch.where(draws[1] < 0, -1.0, 1.0)
    none = torch.zeros_like(side)
    x, y = (1 - side) * draws[2], (1 - side) * (2 * draws[1].abs() - 1)
    place = torch.stack([side * mirror, none, x, none, side, y], -1).view(count, 2, 3)
    grid = F.affine_grid(place, list(pixels.shape), align_corners=False)
    made = F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    bright, contrast, saturation = (1 + 0.5 * reach * draws[3:])[:, :, None, None, None]
    grey = made.mean(1, keepdim=True)
    made = grey + (made - grey) * saturation
    middle = grey.mean((2, 3), keepdim=True)
    return levels(middle * bright + (made - middle) * contrast)
