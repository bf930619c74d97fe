"""The map from one embedder's space to another's: a Gaussian process over pairs, chosen by leaving one out.

Its kernel has a linear part, which suffices where the two spaces are alike, and a radial one, for which alone vectors
count that are near: `tilt · ⟨x, y⟩ + exp(−|x − y|² / (spread · reach))`. Vectors are of unit length, and `spread` is
the mean squared distance of two of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed.errors import InputError

__all__ = ["Choice", "Fit", "Quality", "SpaceMap", "fit_map"]

FEWEST = 20  # pairs; of fewer nothing can be held out
SHARE, MOST_HELD_OUT = 0.1, 1000  # of the pairs, to measure the map on
MOST_JUDGED = 640  # pairs by which a kernel is chosen: that costs their number to the power of three
JUDGED_WIDTH = 64  # random directions of the target space in which it is chosen
MOST_CENTRES = 2048  # pairs that the radial part is kept for: a few MB
TILTS = (0.0, 0.3, 3.0, 30.0)
REACHES = (0.3, 0.6, 1.2)
NOISES = (1e-6, 1e-4, 1e-2, 0.03, 0.1, 0.3)


@dataclass(frozen=True)
class Choice:
    """A kernel, and how much of a target it takes for noise, as a variance."""

    tilt: float
    reach: float
    noise: float


@dataclass(frozen=True)
class SpaceMap:
    """The mean of the process: `(x − mean) @ weight + exp(−|x − centres|² / scale) @ coefficients + origin`.

    Tensors are `[A]`, `[A, B]`, `[M, A]`, `[M, B]` and `[B]`. What it gives isn't of unit length: the surer, the
    longer.
    """

    mean: Tensor
    weight: Tensor
    centres: Tensor
    coefficients: Tensor
    origin: Tensor
    scale: float

    def __call__(self, vectors: Tensor) -> Tensor:
        """Vectors `[N, A]` of any length, mapped: `[N, B]`."""
        unit = F.normalize(vectors.float(), dim=-1)
        radial = radial_kernel(unit, self.centres, self.scale)
        return (unit - self.mean) @ self.weight + radial @ self.coefficients + self.origin

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        names = ("mean", "weight", "centres", "coefficients", "origin")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Quality:
    """How good a map is on `pairs` that it wasn't fitted to.

    `cosine` is that of mapped and true vectors, `centred` the same less the mean of the true ones, which flatters
    nobody. `rank` is the median rank of the true text's vector among all of the held-out ones, 1 the best, and `first`
    the share that comes first.
    """

    pairs: int
    cosine: float
    centred: float
    rank: float
    first: float


@dataclass(frozen=True)
class Fit:
    """A map fitted to all `pairs` with the kernel of `choice`, and the quality of one without the held-out pairs.

    `errors` `[M, B]` is what the latter is off by on those, at right angles to the true unit vectors: what a direction
    is off by.
    """

    map: SpaceMap
    pairs: int
    choice: Choice
    spread: float
    quality: Quality
    errors: Tensor


def radial_kernel(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """`exp(−|a − b|² / scale)` of all rows of `[…, N, D]` and `[…, M, D]`: `[…, N, M]`."""
    squares = a.square().sum(-1)[..., :, None] + b.square().sum(-1)[..., None, :]
    return torch.exp((2 * a @ b.mT - squares).clamp_max(0) / scale)


def fit_map(source: Tensor, target: Tensor, *, seed: int = 0) -> Fit:
    """Fit the map from `source` `[N, A]` to `target` `[N, B]`, vectors of the same N texts in two spaces.

    The kernel and its noise are those with the least squared error on pairs left out one at a time, in closed form.
    Raises InputError for fewer than 20 pairs.
    """
    if len(source) < FEWEST:
        raise InputError(f"a map needs {FEWEST} pairs or more, better 1,000; got {len(source)}")
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(seed)).to(source.device)
    source, target = (F.normalize(x[order].double(), dim=-1) for x in (source, target))
    held_out = min(MOST_HELD_OUT, max(2, round(SHARE * len(source))))
    spread = float(2 * (source - source.mean(0)).square().sum(1).mean())
    choice = best_choice(source[held_out:][:MOST_JUDGED], target[held_out:][:MOST_JUDGED], spread)
    trial = fitted(source[held_out:], target[held_out:], choice, spread)
    new = source[:held_out], target[:held_out]
    whole = fitted(source, target, choice, spread)
    return Fit(whole, len(source), choice, spread, measured(trial, *new), direction_errors(trial, *new))


def direction_errors(space: Callable[[Tensor], Tensor], source: Tensor, target: Tensor) -> Tensor:
    """What mapped vectors are off by at right angles to the true unit vectors, which they are scaled to: `[N, B]`."""
    mapped, true = space(source), target.float()
    along = (mapped * true).sum(1, keepdim=True)
    return mapped / along.clamp_min(0.05) - true * (along / along.clamp_min(0.05))


def best_choice(source: Tensor, target: Tensor, spread: float) -> Choice:
    """The kernel and noise that err least on pairs `[N, A]` and `[N, B]` left out one at a time."""
    centred, wanted = source - source.mean(0), target - target.mean(0)
    if wanted.shape[1] > JUDGED_WIDTH:
        some = torch.randn(wanted.shape[1], JUDGED_WIDTH, generator=torch.Generator().manual_seed(0)).to(wanted)
        wanted = wanted @ some
    linear = 2 * centred @ centred.T / spread
    best = (torch.inf, Choice(TILTS[0], REACHES[0], NOISES[-1]))
    for tilt, reach in product(TILTS, REACHES):
        values, basis = torch.linalg.eigh(tilt * linear + radial_kernel(source, source, spread * reach))
        along, squares = basis.T @ wanted, basis.square()
        for noise in NOISES:
            inverse = 1 / (values.clamp_min(0) + noise)
            left_out = basis @ (along * inverse[:, None]) / (squares @ inverse)[:, None]
            best = min(best, (float(left_out.square().mean()), Choice(tilt, reach, noise)), key=lambda found: found[0])
    return best[1]


def fitted(source: Tensor, target: Tensor, choice: Choice, spread: float) -> SpaceMap:
    """The map of a kernel: exact for up to 2,048 pairs, and of more with that many centres (Nyström's way)."""
    mean, origin = source.mean(0), target.mean(0)
    centred, wanted, tilt = source - mean, target - origin, 2 * choice.tilt / spread
    scale, centres = spread * choice.reach, source[:MOST_CENTRES]
    radial = radial_kernel(centres, centres, scale)
    if len(source) <= MOST_CENTRES:
        kernel = tilt * centred @ centred.T + radial
        coefficients = torch.linalg.solve(kernel + choice.noise * torch.eye(len(kernel), device=kernel.device), wanted)
        weight = tilt * centred.T @ coefficients
    else:
        root = torch.linalg.cholesky(radial + 1e-6 * torch.eye(len(radial), device=radial.device))
        width = source.shape[1]
        moments = source.new_zeros(width + len(centres), width + len(centres))
        products = source.new_zeros(width + len(centres), target.shape[1])
        for rows, x, y in zip(source.split(4096), centred.split(4096), wanted.split(4096), strict=True):
            near = torch.linalg.solve_triangular(root, radial_kernel(centres, rows, scale), upper=False)
            features = torch.cat([tilt**0.5 * x, near.T], 1)
            moments += features.T @ features
            products += features.T @ y
        found = torch.linalg.solve(moments + choice.noise * torch.eye(len(moments), device=moments.device), products)
        weight = tilt**0.5 * found[:width]
        coefficients = torch.linalg.solve_triangular(root.T, found[width:], upper=True)
    mean, weight, centres, coefficients, origin = (
        x.float().contiguous() for x in (mean, weight, centres, coefficients, origin)
    )
    return SpaceMap(mean, weight, centres, coefficients, origin, scale=scale)


def measured(space: SpaceMap, source: Tensor, target: Tensor) -> Quality:
    """The quality of a map on pairs of unit vectors that it wasn't fitted to."""
    mapped, target, mean = space(source), target.float(), space.origin
    cosines = F.normalize(mapped - mean, dim=-1) @ F.normalize(target - mean, dim=-1).T
    true = cosines.diagonal()
    rank = 1 + (cosines > true[:, None]).sum(1)
    return Quality(
        pairs=len(source),
        cosine=float(F.cosine_similarity(mapped, target, dim=-1).mean()),
        centred=float(true.mean()),
        rank=float(rank.double().quantile(0.5)),
        first=float((rank == 1).double().mean()),
    )
