"""Two networks: a painter that knows what images look like, and a student of the black box, which steers it."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unembed_image.embedders.base import FLOOR
from unembed_image.networks.blocks import Block, ready
from unembed_image.networks.denoiser import Painter

__all__ = ["ImageNetwork", "Space", "Student"]

Space = Literal["plain", "log"]

COARSEST = 4  # side of the smallest maps
WIDEST = 8  # their channels, over those at full resolution
SAY = 512  # width before a student's answer
STUDENT_DEPTH = 2  # blocks at each resolution
NARROW = 0.1  # least spread of an embedding's value, over the mean of all spreads


def _widths(size: int, width: int) -> list[tuple[int, int]]:
    """Sides and channels of the maps, finest first."""
    found = [(size, width)]
    while found[-1][0] > COARSEST and found[-1][0] % 2 == 0:
        found.append((found[-1][0] // 2, min(2 * found[-1][1], WIDEST * width)))
    return found


class Student(nn.Module):
    """Pixels `[N, 3, size, size]` to how far the black box's answer is from its mean `[N, D]`, in units of the spreads.

    Unlike the black box it may be differentiated through.
    """

    def __init__(self, dimension: int, size: int, width: int, depth: int) -> None:
        super().__init__()
        maps = _widths(size, width)
        self.look = nn.Conv2d(3, width, 3, padding=1)
        inside, stages = width, []
        for _, outside in maps[1:]:
            stages.append(nn.ModuleList(Block(inside if i == 0 else outside, outside) for i in range(depth)))
            inside = outside
        self.stages = nn.ModuleList(stages)
        self.say = nn.Sequential(nn.Linear(inside * maps[-1][0] ** 2, SAY), nn.SiLU(), nn.Linear(SAY, dimension))

    def forward(self, pixels: Tensor) -> Tensor:
        x = F.silu(self.look((2 * pixels - 1).contiguous(memory_format=torch.channels_last)))
        for stage in self.stages:
            x = F.avg_pool2d(x, 2)  # after a convolution: strides would show in the gradient as a checkerboard
            for block in stage:
                x = block(x)
        found: Tensor = self.say(ready(x).flatten(1))
        return found.float()


class ImageNetwork(nn.Module):
    """What an image inverter ships. `space` is what embeddings are compared in: "log" for class probabilities.

    `width` and `depth` are the painter's, `channels` the student's. Embeddings are known by how far they are from the
    mean of many, `centre`, value by value in units of `spread`: features that are never negative have most of their
    length in common, and learning that anew would hide what differs.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, *, dimension: int, size: int, width: int, depth: int, channels: int, space: Space) -> None:
        super().__init__()
        self.dimension, self.size, self.space = dimension, size, space
        self.painter = Painter(dimension, size, width, depth)
        self.student = Student(dimension, size, channels, STUDENT_DEPTH)
        self.register_buffer("centre", torch.zeros(dimension))
        self.register_buffer("spread", torch.ones(dimension))
        self.to(memory_format=torch.channels_last)

    def meet(self, embeddings: Tensor) -> None:
        """Take `centre` and `spread` from embeddings `[N, D]` of training images."""
        known = self._known(embeddings)
        spread = known.std(0, correction=0)
        self.centre.copy_(known.mean(0))
        self.spread.copy_(spread.clamp_min(NARROW * spread.mean().clamp_min(1e-6)))

    def _known(self, embeddings: Tensor) -> Tensor:
        x = embeddings.float()
        if self.space == "log":
            x = x.clamp_min(FLOOR).log()
            return x - x.mean(-1, keepdim=True)
        return x / x.pow(2).mean(-1, keepdim=True).sqrt().clamp_min(1e-6)

    def scaled(self, embeddings: Tensor) -> Tensor:
        """Embeddings `[N, D]` as the painter reads them."""
        return (self._known(embeddings) - self.centre) / self.spread

    def answers(self, images: Tensor) -> Tensor:
        """What the student thinks that the black box answers `[N, D]`: unit vectors, or log-probabilities."""
        said = self.centre + self.spread * self.student(images)
        return said.log_softmax(-1) if self.space == "log" else F.normalize(said, dim=-1)

    def error(self, answers: Tensor, reached: Tensor) -> Tensor:
        """What must be added to answers `[N, D]` to give embeddings `[N, D]` that the black box answered."""
        wanted = reached.float()
        wanted = wanted.clamp_min(FLOOR).log() if self.space == "log" else F.normalize(wanted, dim=-1)
        return wanted - answers

    def coordinates(self, embeddings: Tensor, target: Tensor, *, log: bool = False) -> Tensor:
        """Embeddings `[..., D]` where half the squared distance to `target`'s is `miss`, near it: `[..., D]`.

        Probabilities p differ there by their logarithms, weighted by the square roots of `target`'s; they are given as
        logarithms if `log`, as `answers` are.
        """
        if self.space != "log":
            return F.normalize(embeddings.float(), dim=-1)
        known = embeddings if log else embeddings.float().clamp_min(FLOOR).log()
        return target.float().clamp_min(FLOOR).sqrt() * known

    def miss(self, answers: Tensor, wanted: Tensor) -> Tensor:
        """How far answers are from embeddings `[N, D]`: 1 − cosine, or the KL divergence of probabilities, `[N]`."""
        if self.space == "log":
            p = wanted.float().clamp_min(FLOOR)
            return (p * (p.log() - answers.log_softmax(-1))).sum(-1)
        return 1 - F.cosine_similarity(answers, wanted.float(), dim=-1)

    def distance(self, embeddings: Tensor, wanted: Tensor) -> Tensor:
        """How far the black box's answers `[..., D]` are from `wanted`: `miss` of them, `[...]`."""
        return self.miss(embeddings.float().clamp_min(FLOOR).log() if self.space == "log" else embeddings, wanted)
