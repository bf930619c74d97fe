"""Two convolutional networks: a painter that guesses an image, a student of the black box by which it is corrected."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unembed_image.embedders import FLOOR

__all__ = ["Block", "ImageNetwork", "Painter", "Space", "Student", "ready"]

Space = Literal["plain", "log"]

COARSEST = 4  # side of the smallest maps
WIDEST = 8  # their channels, over those at full resolution
TOLD = 512  # width in which a painter knows its target


class Block(nn.Module):
    """A residual block of two convolutions (He et al. 2016), modulated by what it is told (Perez et al. 2018).

    Activations are divided by their RMS over channels (Karras et al. 2018): nothing is shared between images or places,
    and unlike group norms these stay in half precision and channels last.
    """

    def __init__(self, inside: int, outside: int, told: int | None = None) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, padding=1)
        self.second = nn.Conv2d(outside, outside, 3, padding=1)
        self.skip = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1, bias=False)
        self.tell = None if told is None else nn.Linear(told, 2 * outside)
        self.ready = ready  # to be compiled where that pays
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor, told: Tensor | None = None) -> Tensor:
        y = self.first(self.ready(x))
        if self.tell is None or told is None:
            y = self.ready(y)
        else:
            y = self.ready(y, *self.tell(told)[:, :, None, None].chunk(2, 1))
        found: Tensor = self.skip(x) + self.second(y)
        return found


def ready(x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
    """Maps `[N, C, h, w]` as a convolution takes them: normalised, modulated, activated. All that isn't a product."""
    x = x * (1e-4 + (x * x).mean(1, keepdim=True)).rsqrt().to(x.dtype)
    return F.silu(x if scale is None or shift is None else x * (1 + scale) + shift)


def _widths(size: int, width: int) -> list[tuple[int, int]]:
    """Sides and channels of the maps, finest first."""
    found = [(size, width)]
    while found[-1][0] > COARSEST and found[-1][0] % 2 == 0:
        found.append((found[-1][0] // 2, min(2 * found[-1][1], WIDEST * width)))
    return found


class Painter(nn.Module):
    """Embeddings `[N, D]`, each of RMS 1, to pixels `[N, 3, size, size]` in (0, 1), from coarse maps to fine ones."""

    def __init__(self, dimension: int, size: int, width: int, depth: int) -> None:
        super().__init__()
        maps = _widths(size, width)[::-1]
        self.shape = (maps[0][1], maps[0][0], maps[0][0])
        self.read = nn.Sequential(nn.Linear(dimension, TOLD), nn.SiLU(), nn.Linear(TOLD, TOLD), nn.SiLU())
        self.start = nn.Linear(TOLD, maps[0][1] * maps[0][0] ** 2)
        inside, stages = maps[0][1], []
        for _, outside in maps:
            stages.append(nn.ModuleList(Block(inside if i == 0 else outside, outside, TOLD) for i in range(depth)))
            inside = outside
        self.stages = nn.ModuleList(stages)
        self.paint = nn.Conv2d(inside, 3, 3, padding=1)

    def forward(self, embeddings: Tensor) -> Tensor:
        told = self.read(embeddings)
        x = self.start(told).unflatten(1, self.shape).contiguous(memory_format=torch.channels_last)
        for number, stage in enumerate(self.stages):
            if number:
                # Blurred, as the squares of enlarged maps would show; bilinear gradients are slow in half precision.
                x = F.avg_pool2d(F.interpolate(x, scale_factor=2), 3, 1, 1, count_include_pad=False)
            for block in stage:
                x = block(x, told)
        return self.paint(ready(x)).float().sigmoid()


class Student(nn.Module):
    """Pixels `[N, 3, size, size]` to what the black box answers `[N, D]`: up to scale, or logits of probabilities.

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
        self.say = nn.Linear(inside * maps[-1][0] ** 2, dimension)

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

    Its call paints: targets `[N, D]`, and changes of them `[N, D]` in units of their RMS, to `[N, 3, size, size]`.
    """

    def __init__(self, *, dimension: int, size: int, width: int, depth: int, space: Space) -> None:
        super().__init__()
        self.dimension, self.size, self.space = dimension, size, space
        self.painter = Painter(dimension, size, width, depth)
        self.student = Student(dimension, size, width, depth)
        self.to(memory_format=torch.channels_last)

    def forward(self, target: Tensor, change: Tensor | None = None) -> Tensor:
        wanted = self.scaled(target)
        found: Tensor = self.painter(wanted if change is None else wanted + change)
        return found

    def scaled(self, embeddings: Tensor) -> Tensor:
        """Embeddings `[N, D]` in the space that the painter reads, each of RMS 1."""
        x = embeddings.float()
        if self.space == "log":
            x = x.clamp_min(FLOOR).log()
            x = x - x.mean(-1, keepdim=True)
        return x / x.pow(2).mean(-1, keepdim=True).sqrt().clamp_min(1e-6)

    def place(self, said: Tensor) -> Tensor:
        """What the student said `[N, D]` where it can be corrected by adding: unit vectors, or log-probabilities."""
        return said.log_softmax(-1) if self.space == "log" else F.normalize(said, dim=-1)

    def error(self, reached: Tensor, said: Tensor) -> Tensor:
        """What must be added to `place(said)` to give embeddings `[N, D]` that the black box answered."""
        wanted = reached.float()
        wanted = wanted.clamp_min(FLOOR).log() if self.space == "log" else F.normalize(wanted, dim=-1)
        return wanted - self.place(said)

    def miss(self, place: Tensor, wanted: Tensor) -> Tensor:
        """How far places are from embeddings `[N, D]`: 1 − cosine, or the KL divergence of probabilities, `[N]`."""
        if self.space == "log":
            p = wanted.float().clamp_min(FLOOR)
            return (p * (p.log() - place.log_softmax(-1))).sum(-1)
        return 1 - F.cosine_similarity(place, wanted.float(), dim=-1)
