"""Noise: Gaussian and Laplace on each value, and the two mechanisms of metric privacy on the sphere."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed.contract.defence import Defence
from unembed_defend.defences.parameters import above_zero

__all__ = ["gaussian", "laplace", "purmech", "von_mises_fisher"]

GRANTED = "The attacker estimates the noise from what is stored; what was drawn stays secret."
GRID = 20_001  # angles between 0 and π at which a density is known

Draw = Callable[[Tensor, torch.Generator], Tensor]


class _Noise(Defence):
    """Adds what `draw` makes of vectors `[N, D]`; queries go without."""

    def __init__(self, name: str, draw: Draw) -> None:
        super().__init__(name=name, granted=GRANTED)
        self._draw = draw

    def _apply(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        return self._draw(vectors, generator)


def gaussian(argument: str) -> Defence:
    """`gaussian:SIGMA`: normal noise of standard deviation SIGMA on each value."""
    sigma = above_zero("gaussian", argument, "SIGMA", what="a standard deviation per value")

    def draw(vectors: Tensor, generator: torch.Generator) -> Tensor:
        return vectors + sigma * torch.randn(vectors.shape, generator=generator).to(vectors.device)

    return _Noise(f"gaussian:{argument}", draw)


def laplace(argument: str) -> Defence:
    """`laplace:SIGMA`: Laplace noise of standard deviation SIGMA on each value, so of scale SIGMA / √2."""
    sigma = above_zero("laplace", argument, "SIGMA", what="a standard deviation per value")

    def draw(vectors: Tensor, generator: torch.Generator) -> Tensor:
        uniform = torch.rand(vectors.shape, generator=generator, dtype=torch.float64) - 0.5
        tails = -torch.log1p(-2 * uniform.abs().clamp_max(0.5 - 1e-12)) * uniform.sign()
        return vectors + (sigma / math.sqrt(2) * tails).to(vectors)

    return _Noise(f"laplace:{argument}", draw)


def von_mises_fisher(argument: str) -> Defence:
    """`vmf:EPSILON`: a direction drawn with density ∝ exp(EPSILON · cosine).

    Its use begins where EPSILON is of the order of the width (Weggenmann and Kerschbaum 2021).
    """
    epsilon = above_zero("vmf", argument, "EPSILON", what="a privacy parameter")
    return _Noise(
        f"vmf:{argument}", lambda given, generator: _turned(given, lambda angle: epsilon * torch.cos(angle), generator)
    )


def purmech(argument: str) -> Defence:
    """`purmech:EPSILON`: a direction drawn with density ∝ exp(−EPSILON · angle) (Weggenmann and Kerschbaum 2021)."""
    epsilon = above_zero("purmech", argument, "EPSILON", what="a privacy parameter")
    return _Noise(
        f"purmech:{argument}", lambda given, generator: _turned(given, lambda angle: -epsilon * angle, generator)
    )


def _turned(vectors: Tensor, log_density: Callable[[Tensor], Tensor], generator: torch.Generator) -> Tensor:
    """Vectors turned at random by angles whose density on the sphere is given; their norms stay."""
    norms = vectors.norm(dim=1, keepdim=True)
    unit = F.normalize(vectors, dim=1)
    angle = _angles(len(vectors), vectors.shape[1], log_density, generator).to(vectors)[:, None]
    aside = torch.randn(vectors.shape, generator=generator).to(vectors)
    aside = F.normalize(aside - (aside * unit).sum(1, keepdim=True) * unit, dim=1)
    turned: Tensor = norms * (torch.cos(angle) * unit + torch.sin(angle) * aside)
    return turned


def _angles(count: int, width: int, log_density: Callable[[Tensor], Tensor], generator: torch.Generator) -> Tensor:
    """`count` angles, of a density on the sphere of `width` dimensions, by their cumulated density; float64."""
    grid = torch.linspace(0, math.pi, GRID, dtype=torch.float64)[1:-1]
    logs = (width - 2) * torch.log(torch.sin(grid)) + log_density(grid)
    summed = torch.exp(logs - logs.max()).cumsum(0)
    drawn = torch.rand(count, generator=generator, dtype=torch.float64) * summed[-1]
    place = torch.searchsorted(summed, drawn).clamp_max(len(grid) - 1)
    within = (summed[place] - drawn) / (summed[place] - torch.where(place > 0, summed[place - 1], 0.0))
    return grid[place] - within * (math.pi / (GRID - 1))
