"""Vectors told apart: which known embedder each fits, and whether the rest are of one kind."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unembed_audit.identify.signatures import Signature, Vectors

__all__ = ["Fit", "assign", "belonging", "fits", "two_populations"]

# Of a group's mean direction with a signature's, or of how far each value strays: one is enough, since alike texts lack
# the other. MiniLM's vectors of other texts than its signature's, also rounded to int8, reach 0.45 and 0.6 with 20
# vectors (24 sentences of one pattern 0.21 and 0.38); those of other models stay under 0.15.
DIRECTION = PROFILE = 0.25
# Of a group's mean evidence to what is typical; vectors of another model that stray into a group have little.
EVIDENCE = 0.4
FEW = 20.0  # nats of evidence in all that speak for less than `LEAST` vectors
LEAST = 8  # vectors from which a group's mean and deviations say something
USUAL = 0.2  # share of the surely assigned vectors from which an unclear one may go with them
AGAINST = -10.0  # nats of evidence against a signature that an unusual text may have
APART = 6.0  # gap between two populations, in their own deviations along it; halves of one Gaussian have 2.7


@dataclass(frozen=True)
class Fit:
    """How a group of vectors agrees with a signature: cosine of mean directions, correlation of how values stray.

    `evidence` is the group's mean evidence for the signature as a share of what is typical, `nats` its sum.
    """

    name: str
    direction: float
    profile: float
    evidence: float
    nats: float
    n: int

    @property
    def agrees(self) -> bool:
        """Whether all is as it is for the embedder's own vectors."""
        if self.evidence < EVIDENCE:
            return False
        return self.nats >= FEW if self.n < LEAST else self.direction >= DIRECTION or self.profile >= PROFILE


def fits(units: Vectors, signature: Signature) -> Fit:
    """How unit vectors `[N, D]` agree with a signature of their width."""
    mean = units.mean(0)
    direction = float(mean @ signature.mean / max(1e-12, np.linalg.norm(mean) * np.linalg.norm(signature.mean)))
    spread = [np.log(signature.floored(one)) for one in (units.std(0), signature.deviation)]
    constant = min(float(one.std()) for one in spread) < 1e-9
    profile = 0.0 if constant else float(np.corrcoef(*spread)[0, 1])
    found = signature.evidence(units)
    ratio = float(found.mean()) / max(1e-9, signature.typical)
    return Fit(signature.name, direction, profile, ratio, float(found.sum()), len(units))


def assign(units: Vectors, signatures: Sequence[Signature]) -> NDArray[np.int64]:
    """For each unit vector `[N, D]` the signature with the most evidence, −1 where all have much against them.

    A vector with a little against it goes with the likeliest of the signatures that many others go with: an unusual
    text is no other model.
    """
    if not signatures:
        return np.full(len(units), -1)
    evidence = np.stack([one.evidence(units) for one in signatures], 1)
    best, most = evidence.argmax(1), evidence.max(1)
    sure = np.bincount(best[most > 0], minlength=len(signatures))
    unclear = np.full(len(units), -1)
    if sure.sum() > len(units) / 2:
        usual = np.where(sure >= USUAL * sure.sum(), evidence, -np.inf)
        unclear = np.where(usual.max(1) > AGAINST, usual.argmax(1), -1)
    return np.where(most > 0, best, unclear)


def belonging(units: Vectors, ours: Signature, others: Sequence[Signature]) -> NDArray[np.bool_]:
    """Which unit vectors `[N, D]` are rather of one signature than of the others, each looked at by itself."""
    evidence = ours.evidence(units)
    most = np.max([one.evidence(units) for one in others], axis=0) if others else np.full(len(units), -np.inf)
    found: NDArray[np.bool_] = (evidence > AGAINST) & (evidence >= most)
    return found


def two_populations(units: Vectors, *, rounds: int = 20) -> NDArray[np.bool_] | None:
    """Which of the unit vectors `[N, D]` belong to a second population, None where they are of one.

    Two means (Lloyd 1957), begun at the ends of the first principal axis, are found on every other vector. They count
    as two populations where the remaining vectors lie `APART` times their own deviation apart along the line between
    them: on the vectors that the means were found on, any few lie apart in so many dimensions.
    """
    if len(units) < 4 * LEAST:
        return None
    given = units.astype(np.float64) - units.mean(0)
    centred, others = given[::2], given[1::2]
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    second = centred @ axis > 0
    for _ in range(rounds):
        if min(second.sum(), (~second).sum()) < LEAST // 2:
            return None
        means = centred[~second].mean(0), centred[second].mean(0)
        moved = ((centred - means[1]) ** 2).sum(1) < ((centred - means[0]) ** 2).sum(1)
        if (moved == second).all():
            break
        second = moved
    line, middle = means[1] - means[0], (means[0] + means[1]) / 2
    beyond: NDArray[np.bool_] = (given - middle) @ line > 0
    along, over = others @ line, beyond[1::2]
    if min(over.sum(), (~over).sum()) < LEAST // 2:
        return None
    inner = float(np.sqrt((along[~over].var() + along[over].var()) / 2))
    return beyond if along[over].mean() - along[~over].mean() >= APART * max(inner, 1e-12) else None
