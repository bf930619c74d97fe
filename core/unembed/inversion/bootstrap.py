"""Bootstrap intervals of corpus metrics."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["bootstrap", "mean"]

AT_ONCE = 20  # samples of a bootstrap that are drawn together


def mean(sums: Tensor) -> float:
    """Aggregate of `[value, 1]` counts: their mean."""
    return float(sums[0] / sums[1])


def bootstrap(
    statistics: Tensor,
    aggregate: Callable[[Tensor], float],
    *,
    samples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """The 95 % percentile interval of `aggregate` over items drawn with replacement (Efron 1979)."""
    generator = torch.Generator().manual_seed(seed)
    count = len(statistics)
    values = []
    for start in range(0, samples, AT_ONCE):
        picks = torch.randint(count, (min(AT_ONCE, samples - start), count), generator=generator)
        values += [aggregate(sums) for sums in statistics[picks].sum(1)]
    low, high = torch.tensor(values, dtype=torch.float64).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    return float(low), float(high)
