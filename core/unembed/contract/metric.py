"""Corpus metrics from each item's own counts, so that the bootstrap resamples items exactly and fast."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

__all__ = ["Metric"]


class Metric(ABC):
    """A metric of a corpus that depends only on the sums of per-item counts; highest is best unless `lowest_best`."""

    lowest_best: ClassVar[bool] = False

    @abstractmethod
    def statistics(self, references: Sequence[Any], reconstructions: Sequence[Any]) -> Tensor:
        """The counts of each item, float64 `[N, S]`."""

    @abstractmethod
    def aggregate(self, sums: Tensor) -> float:
        """The metric of a corpus whose counts add up to `sums` `[S]`."""
