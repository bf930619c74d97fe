"""Shares with intervals, of one group and of a store sampled by collection."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

__all__ = ["Rate", "stratified", "weighted", "wilson"]

Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % interval, of `n` records looked at; None for a share of nothing."""

    share: float | None
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float | int | None]:
        """As it stands in report.json, to four digits."""
        return {
            "share": None if self.share is None else round(self.share, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "n": self.n,
        }


def wilson(successes: float, n: int, *, population: int | None = None) -> Rate:
    """Wilson's interval (1927) of `successes` among `n`.

    `successes` may be a sum of probabilities: the interval then covers what the hidden outcomes can be, not errors of
    the probabilities. With the size of the `population` that was sampled without replacement, the interval narrows
    as the sample nears it (the effective n is n (N − 1) / (N − n)); a whole population has no interval.
    """
    if n == 0:
        return Rate(None, 0.0, 1.0, 0)
    share = min(1.0, max(0.0, successes / n))
    size = float(n)
    if population is not None:
        if n >= population:
            return Rate(share, share, share, n)
        size = n * (population - 1) / (population - n)
    found = _wilson(share, size)
    return Rate(found.share, found.low, found.high, n)


def stratified(parts: Sequence[tuple[Rate, int]]) -> Rate:
    """The share in a whole store, of rates by stratum with each stratum's size.

    The interval recovers the variance from the strata's own intervals (MOVER; Zou and Donner 2008): it holds also
    where a stratum has none or only successes.
    """
    known = [(rate, size) for rate, size in parts if rate.share is not None and size > 0]
    total = sum(size for _, size in known)
    if not total:
        return Rate(None, 0.0, 1.0, 0)
    share = sum(rate.share * size for rate, size in known if rate.share is not None) / total
    down = sum((size / total * (rate.share - rate.low)) ** 2 for rate, size in known if rate.share is not None)
    up = sum((size / total * (rate.high - rate.share)) ** 2 for rate, size in known if rate.share is not None)
    n = sum(rate.n for rate, _ in known)
    return Rate(share, max(0.0, share - math.sqrt(down)), min(1.0, share + math.sqrt(up)), n)


def weighted(parts: Sequence[tuple[float, int, float]]) -> Rate:
    """The share in a domain that cuts across strata (a length, a kind): of each stratum the successes, n, and weight.

    A weight is how many records of the store one of the sample stands for. Wilson's interval with the effective
    number of records, (Σw)² / Σw² (Kish 1965).
    """
    total = sum(weight * n for _, n, weight in parts)
    if not total:
        return Rate(None, 0.0, 1.0, 0)
    share = sum(weight * successes for successes, _, weight in parts) / total
    effective = total**2 / sum(weight**2 * n for _, n, weight in parts)
    wide = _wilson(share, effective)
    return Rate(wide.share, wide.low, wide.high, sum(n for _, n, _ in parts))


def _wilson(share: float, size: float) -> Rate:
    """Wilson's interval of a share among a number of records that needn't be whole."""
    share = min(1.0, max(0.0, share))
    centre = (share + Z * Z / (2 * size)) / (1 + Z * Z / size)
    half = Z / (1 + Z * Z / size) * math.sqrt(share * (1 - share) / size + Z * Z / (4 * size * size))
    return Rate(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)), round(size))
