"""The black box."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, final

import torch
from torch import Tensor

from unembed.contract.similarity import Similarity, cosine
from unembed.costs.meter import Meter
from unembed.errors import PluginError

__all__ = ["Embedder", "on_device"]


class Embedder(ABC):
    """The black box: signals in, embeddings out, forward calls only.

    A subclass calls `super().__init__` with what it declares and implements `_embed`. The similarity that
    its embeddings are compared by belongs to the embedder; it is cosine unless said otherwise, and 1 means
    identical. One behind an API has a `meter`: nothing asks it before a user's work needs it, and `available` says
    whether it can be asked at all (its key is set). Such a one may declare no `dimension` and implement `_measure`.
    """

    def __init__(
        self,
        *,
        name: str,
        modality: str,
        dimension: int | None,
        normalized: bool,
        device: torch.device | str = "cpu",
        similarity: Similarity = cosine,
        meter: Meter | None = None,
        available: bool = True,
    ) -> None:
        self.name = name
        self.modality = modality
        self._dimension = dimension
        self.normalized = normalized
        self.device = torch.device(device)
        self.similarity = similarity
        self.meter = meter
        self.available = available
        self.queries = 0
        self._before_first: Callable[[], None] | None = None

    @property
    def dimension(self) -> int:
        """The width of the embeddings, found out when it is first read by an embedder that declares none."""
        if self._dimension is None:
            self._dimension = self._measure()
        return self._dimension

    @final
    def expect(self, dimension: int | None) -> None:
        """Tell a width that is known from elsewhere, so that one that declares none needn't find it out."""
        if self._dimension is None:
            self._dimension = dimension

    def _measure(self) -> int:
        """Return the width; for embedders that declare none."""
        raise PluginError(f"embedder {self.name!r} declares no dimension and has no way to find it out")

    @final
    def before_first(self, check: Callable[[], None]) -> None:
        """Have `check` run just before the next query, once; what it raises, the query raises."""
        self._before_first = check

    @final
    @torch.no_grad()
    def embed(self, signals: Tensor) -> Tensor:
        """Embed signals `[N, ...]` as float32 `[N, D]` and count N queries.

        Raises PluginError when `_embed` returns another shape or a value that isn't finite.
        """
        if len(signals) == 0:
            return torch.empty(0, self.dimension, device=self.device)
        if self._before_first is not None:
            check, self._before_first = self._before_first, None
            check()
        with on_device(self.device):
            embeddings = self._embed(signals.to(self.device)).float()
        self.queries += len(signals)
        if embeddings.shape != (len(signals), self.dimension):
            raise PluginError(
                f"embedder {self.name!r} returned shape {tuple(embeddings.shape)} for {len(signals)} rows; "
                f"it declares {(len(signals), self.dimension)}"
            )
        if not torch.isfinite(embeddings).all():
            raise PluginError(f"embedder {self.name!r} returned NaN or infinity")
        return embeddings

    @abstractmethod
    def _embed(self, signals: Tensor) -> Tensor:
        """Return `[N, D]` embeddings of N ≥ 1 signals, which are on `self.device`."""


def on_device(device: torch.device) -> AbstractContextManager[Any]:
    """With `device` as the one that kernels of a plugin's own are launched on."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
