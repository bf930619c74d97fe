"""Images to pixels and back. A pixel is one of 256 levels, so that a PNG holds a signal exactly."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from unembed.contract.codec import Codec
from unembed_image.files import square

__all__ = ["ImageCodec", "levels"]


def levels(pixels: Tensor) -> Tensor:
    """Pixels rounded to the nearest of the levels 0, 1/255, …, 1, which are the same numbers on every device."""
    # By a tensor: for a plain number a GPU multiplies by its inverse, and comes out a bit beside some levels.
    most = torch.full((), 255.0, device=pixels.device)
    return (pixels.float().clamp(0, 1) * 255).round() / most


def _probes() -> tuple[np.ndarray, ...]:
    """Shaded pictures that any vision model tells apart: a sky over ground, a checkerboard, a disc on stripes."""
    y, x = np.mgrid[0:1:128j, 0:1:128j]
    sky = np.stack([0.3 + 0.4 * y, 0.5 + 0.1 * y, np.where(y < 0.55, 0.9 - 0.3 * y, 0.2)], -1)
    board = np.stack([((8 * x).astype(int) + (8 * y).astype(int)) % 2 * 0.9] * 3, -1) * [1, 0.95, 0.8]
    disc = np.where(
        ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.1)[..., None], [0.9, 0.3, 0.1], 0.5 + 0.3 * np.sin(40 * x)[..., None]
    )
    return tuple((picture * 255).round().astype(np.uint8) for picture in (sky, board, disc))


class ImageCodec(Codec):
    """Files (paths or bytes), PIL images and arrays ↔ RGB in [0, 1], float32 `[N, 3, size, size]`: see `square`."""

    probes: ClassVar[Sequence[Any]] = _probes()

    def __init__(self, size: int) -> None:
        self.size = size

    def _encode(self, objects: Sequence[Any]) -> Tensor:
        return self.encode_uint8(objects).float() / 255

    def encode_uint8(self, objects: Sequence[Any]) -> Tensor:
        """The same as uint8 from 0 to 255, a quarter of the memory."""
        signals = torch.empty(len(objects), 3, self.size, self.size, dtype=torch.uint8)
        for row, source in enumerate(objects):
            image = np.array(square(source, self.size, f"input {row}"))
            signals[row] = rearrange(torch.from_numpy(image), "h w c -> c h w")
        return signals

    def _decode(self, signals: Tensor) -> list[Image.Image]:
        pixels = (signals.clamp(0, 1) * 255).round().to(torch.uint8).cpu()
        return [Image.fromarray(image.numpy()) for image in rearrange(pixels, "n c h w -> n h w c").contiguous()]
