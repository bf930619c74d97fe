"""Two networks: a denoiser that knows what images look like, and a surrogate of the black box, which steers it."""

from collections.abc import Iterable
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unembed_image.embedders.base import FLOOR
from unembed_image.networks.blocks import Block, norm_act
from unembed_image.networks.denoiser import Denoiser

__all__ = ["ImageNetwork", "Space", "Surrogate"]

Space = Literal["plain", "log"]

COARSEST = 4  # side of the smallest maps
WIDEST = 8  # their channels, over those at full resolution
HEAD = 512  # width before a surrogate's answer
SURROGATE_DEPTH = 2  # blocks at each resolution
NARROW = 0.1  # least spread of an embedding's value, over the mean of all spreads


def _widths(size: int, width: int) -> list[tuple[int, int]]:
    """Sides and channels of the maps, finest first."""
    found = [(size, width)]
    while found[-1][0] > COARSEST and found[-1][0] % 2 == 0:
        found.append((found[-1][0] // 2, min(2 * found[-1][1], WIDEST * width)))
    return found


class Surrogate(nn.Module):
    """Pixels `[N, 3, size, size]` to how far the black box's answer is from its mean `[N, D]`, in units of the spreads.

    Unlike the black box it may be differentiated through.
    """

    def __init__(self, dimension: int, size: int, width: int, depth: int) -> None:
        super().__init__()
        maps = _widths(size, width)
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        inside, stages = width, []
        for _, outside in maps[1:]:
            stages.append(nn.ModuleList(Block(inside if i == 0 else outside, outside) for i in range(depth)))
            inside = outside
        self.stages = nn.ModuleList(stages)
        self.head = nn.Sequential(nn.Linear(inside * maps[-1][0] ** 2, HEAD), nn.SiLU(), nn.Linear(HEAD, dimension))

    def forward(self, pixels: Tensor) -> Tensor:
        x = F.silu(self.stem((2 * pixels - 1).contiguous(memory_format=torch.channels_last)))
        for stage in cast(Iterable[nn.ModuleList], self.stages):
            x = F.avg_pool2d(x, 2)  # after a convolution: strides would show in the gradient as a checkerboard
            for block in stage:
                x = block(x)
        found: Tensor = self.head(norm_act(x).flatten(1))
        return found.float()


class ImageNetwork(nn.Module):
    """What an image inverter ships. `space` is what embeddings are compared in: "log" for class probabilities.

    `width` and `depth` are the denoiser's, `channels` the surrogate's. Embeddings are normalised by the `mean` and
    `std` of many, value by value: features that are never negative have most of their length in common, which would
    hide what differs.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *, dimension: int, size: int, width: int, depth: int, channels: int, space: Space) -> None:
        super().__init__()
        self.dimension, self.size, self.space = dimension, size, space
        self.denoiser = Denoiser(dimension, size, width, depth)
        self.surrogate = Surrogate(dimension, size, channels, SURROGATE_DEPTH)
        self.register_buffer("mean", torch.zeros(dimension))
        self.register_buffer("std", torch.ones(dimension))
        self.to(memory_format=torch.channels_last)

    def fit_normalizer(self, embeddings: Tensor) -> None:
        """Take `mean` and `std` from embeddings `[N, D]` of training images."""
        known = self._comparable(embeddings)
        spread = known.std(0, correction=0)
        self.mean.copy_(known.mean(0))
        self.std.copy_(spread.clamp_min(NARROW * spread.mean().clamp_min(1e-6)))

    def _comparable(self, embeddings: Tensor) -> Tensor:
        x = embeddings.float()
        if self.space == "log":
            x = x.clamp_min(FLOOR).log()
            return x - x.mean(-1, keepdim=True)
        return x / x.pow(2).mean(-1, keepdim=True).sqrt().clamp_min(1e-6)

    def normalize(self, embeddings: Tensor) -> Tensor:
        """Embeddings `[N, D]` as the denoiser reads them."""
        return (self._comparable(embeddings) - self.mean) / self.std

    def predict(self, images: Tensor) -> Tensor:
        """The surrogate's prediction of the black box's embeddings `[N, D]`: unit vectors, or log-probabilities."""
        predicted = self.mean + self.std * self.surrogate(images)
        return predicted.log_softmax(-1) if self.space == "log" else F.normalize(predicted, dim=-1)

    def residual(self, predicted: Tensor, reached: Tensor) -> Tensor:
        """What to add to predictions `[N, D]` to get the embeddings `[N, D]` that the black box returned."""
        wanted = reached.float()
        wanted = wanted.clamp_min(FLOOR).log() if self.space == "log" else F.normalize(wanted, dim=-1)
        return wanted - predicted

    def coordinates(self, embeddings: Tensor, target: Tensor, *, log: bool = False) -> Tensor:
        """Embeddings `[..., D]` where half the squared distance to `target`'s is `loss`, near it: `[..., D]`.

        Probabilities p differ there by their logarithms, weighted by the square roots of `target`'s; they are given as
        logarithms if `log`, as predictions are.
        """
        if self.space != "log":
            return F.normalize(embeddings.float(), dim=-1)
        known = embeddings if log else embeddings.float().clamp_min(FLOOR).log()
        return target.float().clamp_min(FLOOR).sqrt() * known

    def loss(self, predicted: Tensor, wanted: Tensor) -> Tensor:
        """Distance `[N]` of predictions from embeddings `[N, D]`: 1 − cosine, or the KL divergence of probabilities."""
        if self.space == "log":
            p = wanted.float().clamp_min(FLOOR)
            return (p * (p.log() - predicted.log_softmax(-1))).sum(-1)
        return 1 - F.cosine_similarity(predicted, wanted.float(), dim=-1)

    def distance(self, embeddings: Tensor, wanted: Tensor) -> Tensor:
        """Distance of the black box's embeddings `[..., D]` from `wanted`, as `loss` measures it, `[...]`."""
        return self.loss(embeddings.float().clamp_min(FLOOR).log() if self.space == "log" else embeddings, wanted)
