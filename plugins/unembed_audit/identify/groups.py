"""Vectors told apart: which known embedder each fits, and whether the rest are of one kind."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unembed_audit.identify.signatures import Signature, Vectors, unit

__all__ = ["Fit", "assign", "fits", "two_populations"]

# Of a group's mean direction with a signature's, and of the logarithms of how far each value strays. Measured in
# tests/audit/identify: the embedder's own vectors of other texts reach 0.6 and more in both, others' stay under 0.3.
DIRECTION, PROFILE = 0.6, 0.5
LEAST = 8  # vectors from which a group's mean and deviations say something
STRAY = 12.0  # standard deviations of likelihood by which a vector may lie under what is typical of a signature
APART = 6.0  # gap between two populations, in their own deviations along it; halves of one Gaussian have 2.7


@dataclass(frozen=True)
class Fit:
    """How a group of vectors agrees with a signature: cosine of mean directions, correlation of how values stray."""

    name: str
    direction: float
    profile: float
    n: int

    @property
    def agrees(self) -> bool:
        """Whether both are as they are for the embedder's own vectors."""
        return self.n >= LEAST and self.direction >= DIRECTION and self.profile >= PROFILE


def fits(units: Vectors, signature: Signature) -> Fit:
    """How unit vectors `[N, D]` agree with a signature of their width."""
    mean, deviation = units.mean(0), units.std(0).clip(1e-6)
    direction = float(mean @ signature.mean / max(1e-12, np.linalg.norm(mean) * np.linalg.norm(signature.mean)))
    spread = np.log(deviation), np.log(signature.deviation)
    constant = min(float(one.std()) for one in spread) < 1e-9
    profile = 0.0 if constant else float(np.corrcoef(*spread)[0, 1])
    return Fit(signature.name, direction, profile, len(units))


def assign(units: Vectors, signatures: Sequence[Signature]) -> NDArray[np.int64]:
    """For each unit vector `[N, D]` the signature under which it is likeliest, −1 where it lies far under all."""
    if not signatures:
        return np.full(len(units), -1)
    likelihood = np.stack([one.likelihood(units) for one in signatures], 1)
    typical = np.array([one.typical for one in signatures])
    spread = np.array([one.spread for one in signatures])
    best = likelihood.argmax(1)
    short = (typical[best] - likelihood[np.arange(len(units)), best]) / spread[best]
    return np.where(short <= STRAY, best, -1)


def two_populations(units: Vectors, *, rounds: int = 20) -> NDArray[np.bool_] | None:
    """Which of the unit vectors `[N, D]` belong to a second population, None where they are of one.

    Two means, begun at the ends of the first principal axis (Hartigan 1975); they count as two populations where
    they lie `APART` times their own deviation apart along the line between them.
    """
    if len(units) < 2 * LEAST:
        return None
    centred = (units - units.mean(0)).astype(np.float64)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    second: NDArray[np.bool_] = centred @ axis > 0
    for _ in range(rounds):
        if min(second.sum(), (~second).sum()) < LEAST:
            return None
        means = centred[~second].mean(0), centred[second].mean(0)
        away = [((centred - mean) ** 2).sum(1) for mean in means]
        moved = away[1] < away[0]
        if (moved == second).all():
            break
        second = moved
    means = centred[~second].mean(0), centred[second].mean(0)
    line = means[1] - means[0]
    gap = float(np.linalg.norm(line))
    along = centred @ (line / max(gap, 1e-12))
    inner = float(np.sqrt((along[~second].var() + along[second].var()) / 2))
    return second if gap >= APART * max(inner, 1e-12) else None


def standard(vectors: Vectors) -> Vectors:
    """Vectors as the functions here take them: unit length, finite rows alone."""
    return unit(vectors[np.isfinite(vectors).all(1)])
