"""Attackers who estimate noise and rounding from what is stored, with clean vectors of other texts and no pairs.

Along the principal directions of clean vectors, what is stored varies by `gain² · variance + noise²`: where clean
vectors hardly vary, noise shows. A Wiener filter (Wiener 1949) then gives back the mean of what may have been stored.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unembed.inversion.precision import estimate_precision
from unembed_defend.attackers.seen import Attempt, Refused, Seen, noise_of, unit

__all__ = ["Noise", "denoising", "estimate_noise", "told", "untold"]

FEWEST = 50  # public vectors that a covariance is estimated from
LEAST = 0.1  # of what is stored must vary as clean vectors do
ROUNDS = 20  # of reweighting
SURE = 3.0  # standard errors by which noise must differ from none
SHRINKING = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # shares of variance that are made equal in all directions


@dataclass(frozen=True)
class Noise:
    """What is stored is `gain` times the clean vector plus noise of standard deviation `sigma` on each value.

    `share` is the part of its variance that is spread as the clean vectors' is.
    """

    gain: float
    sigma: float
    share: float


def told(seen: Seen) -> Attempt | Refused:
    """What is stored, as it is, and to the search what noise or rounding is in it."""
    found = _noise(seen)
    if isinstance(found, Refused):
        return found
    if seen.stored.shape[1] != seen.width:
        return Refused(f"the inverter takes vectors {seen.width} wide, and those stored are {seen.stored.shape[1]}")
    digits = estimate_precision(seen.stored).summary
    if digits is not None:
        return Attempt(seen.stored, None, f"rounding read from the digits ({digits}) and told to the search")
    sigma = found.sigma / found.gain
    if sigma == 0:
        return Attempt(seen.stored, "float32", "no noise found")
    return Attempt(seen.stored, f"noise:{sigma:.6f}", f"noise estimated at {sigma:.4f} a value and told to the search")


def untold(seen: Seen) -> Attempt | Refused:
    """What is in place of `told` for an inverter that makes nothing of it: its search would be the unaware one."""
    found = told(seen)
    if isinstance(found, Refused) or found.precision == "float32":
        return found
    return Refused("this inverter never learned to be told of noise, and would search as unaware does", applies=True)


def denoising(seen: Seen) -> Attempt | Refused:
    """A Wiener filter for the noise that is estimated; the search is told what noise is left."""
    found = _noise(seen)
    if isinstance(found, Refused):
        return found
    clean, moved = seen.public.double(), _moved(seen).double()
    noise = found.sigma / found.gain
    if noise == 0 and bool((moved - clean).abs().max() <= 1e-6):
        return Attempt(seen.stored, "float32", "no noise found, nothing to remove")
    half = len(clean) // 2
    draw = torch.Generator().manual_seed(0)
    noisy = moved[half:] + noise * torch.randn(moved[half:].shape, generator=draw, dtype=torch.float64).to(moved)
    # How far few vectors can be trusted to tell the variances is seen on the half that they weren't told by.
    trials = {
        share: float(
            (unit(_filter(moved[:half], clean[:half], noise, share)(noisy)) * unit(clean[half:])).sum(1).mean()
        )
        for share in SHRINKING
    }
    best = max(trials, key=lambda share: trials[share])
    estimate = _filter(moved, clean, noise, best)(seen.defence.undo(seen.stored).double() / found.gain)
    sigma = noise_of(trials[best], seen.width)
    how = f"noise estimated at {noise:.4f} a value, filtered out, and {sigma:.4f} told to the search"
    return Attempt(estimate.float(), f"noise:{sigma:.6f}", how)


def estimate_noise(stored: Tensor, clean: Tensor) -> Noise:
    """Gain and noise of `stored` `[N, D]`, from clean vectors `[P, D]` of other texts; no pairs are needed.

    Variances are taken along the principal directions of the clean vectors. The noise alone is fitted to the D of them,
    by reweighted least squares, as for variances of a normal law; the mean square of the lengths then gives the gain.
    One half of the clean vectors gives the directions and the other their variances: those of the same vectors would be
    too small where they are small.
    """
    half, width = len(clean) // 2, clean.shape[1]
    basis = torch.linalg.eigh(torch.cov(clean[:half].double().T)).eigenvectors
    values, seen = _variances(clean[half:], basis), _variances(stored, basis)
    total, lengths = float(seen.sum()), float(stored.double().square().sum(1).mean())
    if total <= 0:
        return Noise(1.0, 0.0, 0.0)
    # gain² = (lengths − D noise²) / own, put into variance = gain² value + noise²
    own = float(clean.double().square().sum(1).mean())
    rest, slope = seen - lengths / own * values, 1 - width * values / own
    error = 2 / max(1, len(stored) - 1) + 2 / max(1, len(clean) - half - 1)
    square, extra, sure = lengths / own, 0.0, 0.0
    for _ in range(ROUNDS):
        expected = (square * values + extra).clamp_min(1e-4 * square * float(values.mean()) + 1e-30)
        weight = slope / expected.square()
        extra = min(max(float((weight * rest).sum() / (weight * slope).sum()), 0.0), 0.99 * lengths / width)
        square = (lengths - width * extra) / own
        sure = math.sqrt(error / float((weight * slope).sum()))
    if extra < SURE * sure:
        square, extra = lengths / own, 0.0
    return Noise(math.sqrt(square), math.sqrt(extra), _likeness(seen, values))


def _likeness(seen: Tensor, values: Tensor) -> float:
    """How far variances `[D]` follow those of clean vectors: the slope of a line through them, as a share."""
    a, b = seen - seen.mean(), values - values.mean()
    return float((a * b).sum() / b.square().sum() * values.sum() / seen.sum())


def _filter(moved: Tensor, clean: Tensor, noise: float, share: float) -> Callable[[Tensor], Tensor]:
    """The best linear estimate of clean vectors from moved ones with noise; `share` of all variances are made equal."""
    origin, mean, width = moved.mean(0), clean.mean(0), clean.shape[1]
    a, b = moved - origin, clean - mean
    equal = share * float(a.square().sum()) / len(a) / width * torch.eye(width, dtype=a.dtype, device=a.device)
    own = (1 - share) * a.T @ a / len(a) + equal
    both = (1 - share) * a.T @ b / len(a) + equal
    weight = torch.linalg.solve(own + (noise**2 + 1e-9) * torch.eye(width, dtype=a.dtype, device=a.device), both)
    return lambda vectors: (vectors - origin) @ weight + mean


def _variances(vectors: Tensor, basis: Tensor) -> Tensor:
    """Of vectors `[N, D]` along each of the directions `[D, D]`."""
    along = (vectors.double() - vectors.double().mean(0)) @ basis
    return along.square().sum(0) / max(1, len(vectors) - 1)


def _noise(seen: Seen) -> Noise | Refused:
    if len(seen.public) < FEWEST:
        return Refused(f"needs clean vectors of {FEWEST} other texts; there are {len(seen.public)}", applies=True)
    if seen.defence.keyed and seen.stored.shape[1] != seen.width:
        return Refused("how the vectors were moved is secret, and their width isn't the embedder's")
    undone = seen.defence.undo(seen.stored)
    found = estimate_noise(undone, _moved(seen))
    if found.share < LEAST:
        return Refused("what is stored doesn't vary as the embedder's vectors do: it was moved, or is noise alone")
    if found.sigma == 0 and seen.stored.shape[1] == seen.width:
        digits = estimate_precision(seen.stored)
        if digits.summary is not None:  # rounding that is told from digits, as noise
            cosine, length = 1 - float(digits.loss.mean()), float(undone.norm(dim=1).mean())
            own = float(seen.public.norm(dim=1).mean())
            sigma = length * math.sqrt(max(0.0, 1 - cosine**2) / seen.width)
            return replace(found, gain=cosine * length / own, sigma=sigma)
    return found


def _moved(seen: Seen) -> Tensor:
    """The public vectors as they would come back without noise: themselves, unless values are left out openly."""
    return seen.public if seen.defence.keyed else seen.defence.undo(seen.defence.query(seen.public))
