"""Corpus metrics from each item's own counts, so that the bootstrap resamples items exactly and fast."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

__all__ = ["Metric", "bootstrap", "mean"]

AT_ONCE = 20  # samples of a bootstrap that are drawn together


class Metric(ABC):
    """A metric of a corpus that depends only on the sums of per-item counts; highest is best unless `lowest_best`."""

    lowest_best: ClassVar[bool] = False

    @abstractmethod
    def statistics(self, references: Sequence[Any], reconstructions: Sequence[Any]) -> Tensor:
        """The counts of each item, float64 `[N, S]`."""

    @abstractmethod
    def aggregate(self, sums: Tensor) -> float:
        """The metric of a corpus whose counts add up to `sums` `[S]`."""


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
