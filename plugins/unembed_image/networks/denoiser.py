"""A flow over images: from noise to the image behind an embedding."""

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from unembed_image.networks.blocks import Block, Layer

__all__ = ["MULTIPLE", "Painter"]

MULTIPLE = 8  # of which an image's side must be one: it is halved three times
TOKENS = 4  # tokens that hold the target
WAVES = 64  # frequencies that tell the time


class Painter(nn.Module):
    """What image lies behind a target, given a noisy one: `time` × image + (1 − `time`) × normal noise.

    Convolutions at a half and a quarter of the resolution, which know edges and textures after little training, and
    attention at an eighth, where most of the network is (as in Hoogeboom et al. 2023). It predicts the image itself,
    which lies on few dimensions where noise does not (Li and He 2025).
    """

    def __init__(self, dimension: int, size: int, width: int, depth: int) -> None:
        super().__init__()
        fine = 8 * max(width // 24, 1)
        coarse = 2 * fine
        self.side = size // MULTIPLE
        self.read = nn.Sequential(nn.Linear(dimension, width), nn.SiLU(), nn.Linear(width, width))
        self.clock = nn.Sequential(nn.Linear(2 * WAVES, width), nn.SiLU(), nn.Linear(width, width))
        self.hold = nn.Linear(width, TOKENS * width)
        self.tell = nn.Linear(width, 6 * width)
        self.enter = nn.Conv2d(3 * 4, fine, 3, padding=1)
        self.down = nn.ModuleList([Block(fine, fine, width), Block(fine, coarse, width), Block(coarse, coarse, width)])
        self.merge = nn.Linear(4 * coarse, width)
        self.places = nn.Parameter(0.1 * torch.randn(self.side**2, width))
        self.inner = nn.ModuleList(Layer(width) for _ in range(depth))
        self.split = nn.Linear(width, 4 * coarse)
        self.up = nn.ModuleList([Block(coarse, coarse, width), Block(coarse, coarse, width), Block(fine, fine, width)])
        self.thin = nn.Conv2d(coarse, fine, 1)
        self.leave = nn.Conv2d(fine, 3 * 4, 3, padding=1)

    def forward(self, noisy: Tensor, time: Tensor, target: Tensor) -> Tensor:
        """Noisy images `[N, 3, size, size]` with levels from −1 to 1, times `[N]`, targets `[N, D]`: images."""
        known = self.read(target)
        told = F.silu(known + self.clock(_waves(time)))
        fine = self.enter(F.pixel_unshuffle(noisy, 2).contiguous(memory_format=torch.channels_last))
        fine = self.down[0](fine, told)
        coarse = self.down[2](self.down[1](F.avg_pool2d(fine, 2), told), told)
        x = self.merge(rearrange(coarse, "n c (h a) (w b) -> n (h w) (a b c)", a=2, b=2)) + self.places
        x = torch.cat([self.hold(F.silu(known)).unflatten(1, (TOKENS, -1)), x.to(known.dtype)], 1)
        layers_told = self.tell(told).unflatten(1, (6, -1))
        for layer in self.inner:
            x = layer(x, layers_told)
        y = self.split(F.rms_norm(x[:, TOKENS:], x.shape[-1:]))
        y = rearrange(y, "n (h w) (a b c) -> n c (h a) (w b)", h=self.side, a=2, b=2)
        coarse = coarse + y.contiguous(memory_format=torch.channels_last)
        coarse = self.up[1](self.up[0](coarse, told), told)
        fine = self.up[2](fine + F.interpolate(self.thin(coarse), scale_factor=2), told)
        return F.pixel_shuffle(self.leave(F.silu(fine)), 2).float()


def _waves(time: Tensor) -> Tensor:
    frequencies = torch.exp(torch.linspace(0, math.log(100), WAVES, device=time.device))
    angles = time.float()[:, None] * frequencies * math.pi
    return torch.cat([angles.sin(), angles.cos()], 1)
