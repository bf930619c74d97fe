"""A flow over images: from noise to the image behind an embedding."""

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from unembed_image.networks.blocks import Block, Layer

__all__ = ["MULTIPLE", "Denoiser"]

MULTIPLE = 8  # of which an image's side must be one: it is halved three times
TOKENS = 4  # tokens that hold the target
WAVES = 64  # frequencies that tell the time


class Denoiser(nn.Module):
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
        self.target_embed = nn.Sequential(nn.Linear(dimension, width), nn.SiLU(), nn.Linear(width, width))
        self.time_embed = nn.Sequential(nn.Linear(2 * WAVES, width), nn.SiLU(), nn.Linear(width, width))
        self.context_proj = nn.Linear(width, TOKENS * width)
        self.modulation = nn.Linear(width, 6 * width)
        self.conv_in = nn.Conv2d(3 * 4, fine, 3, padding=1)
        self.down = nn.ModuleList([Block(fine, fine, width), Block(fine, coarse, width), Block(coarse, coarse, width)])
        self.patchify = nn.Linear(4 * coarse, width)
        self.pos_embed = nn.Parameter(0.1 * torch.randn(self.side**2, width))
        self.layers = nn.ModuleList(Layer(width) for _ in range(depth))
        self.unpatchify = nn.Linear(width, 4 * coarse)
        self.up = nn.ModuleList([Block(coarse, coarse, width), Block(coarse, coarse, width), Block(fine, fine, width)])
        self.skip_proj = nn.Conv2d(coarse, fine, 1)
        self.conv_out = nn.Conv2d(fine, 3 * 4, 3, padding=1)

    def forward(self, noisy: Tensor, time: Tensor, target: Tensor) -> Tensor:
        """Noisy images `[N, 3, size, size]` with levels from −1 to 1, times `[N]`, targets `[N, D]`: images."""
        known = self.target_embed(target)
        cond = F.silu(known + self.time_embed(_sinusoids(time)))
        fine = self.conv_in(F.pixel_unshuffle(noisy, 2).contiguous(memory_format=torch.channels_last))
        fine = self.down[0](fine, cond)
        coarse = self.down[2](self.down[1](F.avg_pool2d(fine, 2), cond), cond)
        x = self.patchify(rearrange(coarse, "n c (h a) (w b) -> n (h w) (a b c)", a=2, b=2)) + self.pos_embed
        x = torch.cat([self.context_proj(F.silu(known)).unflatten(1, (TOKENS, -1)), x.to(known.dtype)], 1)
        modulation = self.modulation(cond).unflatten(1, (6, -1))
        for layer in self.layers:
            x = layer(x, modulation)
        y = self.unpatchify(F.rms_norm(x[:, TOKENS:], x.shape[-1:]))
        y = rearrange(y, "n (h w) (a b c) -> n c (h a) (w b)", h=self.side, a=2, b=2)
        coarse = coarse + y.contiguous(memory_format=torch.channels_last)
        coarse = self.up[1](self.up[0](coarse, cond), cond)
        fine = self.up[2](fine + F.interpolate(self.skip_proj(coarse), scale_factor=2), cond)
        return F.pixel_shuffle(self.conv_out(F.silu(fine)), 2).float()


def _sinusoids(time: Tensor) -> Tensor:
    frequencies = torch.exp(torch.linspace(0, math.log(100), WAVES, device=time.device))
    angles = time.float()[:, None] * frequencies * math.pi
    return torch.cat([angles.sin(), angles.cos()], 1)
