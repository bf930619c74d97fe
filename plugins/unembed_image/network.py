"""A patch transformer that paints: one network guesses from a target and corrects a hypothesis."""

from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F

from unembed.errors import MissingExtraError
from unembed_image.codec import levels
from unembed_image.embedders import FLOOR
from unembed_image.losses import Space

__all__ = ["ImageNetwork"]

AT_ONCE = {"cpu": 256, "cuda": 2048}  # images painted at once


class ImageNetwork(nn.Module):
    """Both roles in one: without a hypothesis it guesses an image, with one it changes it.

    Its tokens are the patches of the hypothesis, `tokens` each for the target, for the hypothesis's embedding and for
    the difference of the two, and one for a latent noise `[N, noise]`, by which candidates differ; zero noise is the
    first candidate. timm's transformer blocks mix them, small convolutions smooth the seams. `space` is what is done
    to embeddings first: "log" for probabilities.
    """

    def __init__(
        self,
        *,
        dimension: int,
        size: int,
        patch: int,
        width: int,
        layers: int,
        heads: int,
        tokens: int,
        noise: int,
        space: Space,
    ) -> None:
        super().__init__()
        try:
            from timm.models.vision_transformer import Block
        except ImportError as error:
            raise MissingExtraError("image inverters need an extra: pip install 'unembed[image]'") from error
        self.dimension, self.size, self.patch, self.noise, self.space = dimension, size, patch, noise, space
        self.side = size // patch
        self.places = nn.Parameter(torch.randn(self.side**2, width) * 0.3)
        self.look = nn.Linear(3 * patch**2, width)
        self.read = nn.ModuleList(nn.Linear(dimension, tokens * width) for _ in range(3))
        self.kinds = nn.Parameter(torch.randn(3 * tokens + 1, width) * 0.3)
        self.vary = nn.Linear(noise, width, bias=False)
        self.blocks = nn.ModuleList(Block(width, heads, qkv_bias=True, qk_norm=True) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.paint = nn.Linear(width, 16 * patch**2)
        self.smooth = nn.Sequential(
            nn.Conv2d(16, 32, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(32, 3, 3, padding=1),
        )

    def scaled(self, embeddings: Tensor) -> Tensor:
        """Embeddings `[N, D]` in the space that the network reads, each of RMS 1."""
        x = embeddings.float()
        if self.space == "log":
            x = x.clamp_min(FLOOR).log()
            x = x - x.mean(-1, keepdim=True)
        return x / x.pow(2).mean(-1, keepdim=True).sqrt().clamp_min(1e-6)

    def forward(self, target: Tensor, hypothesis: Tensor | None, embedding: Tensor | None, noise: Tensor) -> Tensor:
        """Unbounded pixels `[N, 3, size, size]` for targets `[N, D]` and `noise` `[N, noise]`."""
        wanted = self.scaled(target)
        known = [self.read[0](wanted)]
        base = torch.full_like(wanted[:, :1], 0.5)[:, :, None, None]
        canvas = self.places.expand(len(target), -1, -1)
        if hypothesis is None or embedding is None:
            known += [torch.zeros_like(known[0])] * 2
        else:
            reached = self.scaled(embedding)
            gap = wanted - reached
            # Late corrections have small gaps: their direction is what counts, their size the two tokens show.
            gap = gap / gap.pow(2).mean(-1, keepdim=True).sqrt().clamp_min(1e-4)
            known += [self.read[1](reached), self.read[2](gap)]
            base = hypothesis
            patches = rearrange(2 * hypothesis - 1, "n c (h p) (w q) -> n (h w) (c p q)", p=self.patch, q=self.patch)
            canvas = canvas + self.look(patches)
        told = rearrange(torch.stack(known, 1), "n k (t d) -> n (k t) d", d=self.places.shape[1])
        told = torch.cat([told, self.vary(noise)[:, None]], 1) + self.kinds
        x = torch.cat([canvas, told], 1)
        for block in self.blocks:
            x = block(x)
        x = self.paint(self.norm(x[:, : self.side**2]))
        x = rearrange(x, "n (h w) (c p q) -> n c (h p) (w q)", h=self.side, p=self.patch, q=self.patch)
        return base + 0.25 * self.smooth(F.gelu(x))

    @torch.no_grad()
    def write(
        self,
        target: Tensor,
        hypothesis: Tensor | None,
        embedding: Tensor | None,
        warmth: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Images `[N, count, 3, size, size]` of noises whose standard deviations are `warmth` `[N, count]`."""
        count, at_once = warmth.shape[1], AT_ONCE.get(target.device.type, 256)
        noise = torch.randn(*warmth.shape, self.noise, device=target.device, generator=generator) * warmth[..., None]
        rows: list[Any] = [repeat(target, "n d -> (n k) d", k=count), noise.flatten(0, 1)]
        if hypothesis is not None and embedding is not None:
            rows += [repeat(hypothesis, "n ... -> (n k) ...", k=count), repeat(embedding, "n d -> (n k) d", k=count)]
        parts = [self._painted(*part) for part in zip(*(x.split(at_once) for x in rows), strict=True)]
        return torch.cat(parts).unflatten(0, (len(target), count))

    def _painted(
        self, target: Tensor, noise: Tensor, hypothesis: Tensor | None = None, embedding: Tensor | None = None
    ) -> Tensor:
        return levels(self(target, hypothesis, embedding, noise))
