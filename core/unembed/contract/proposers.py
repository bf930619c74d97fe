"""The two learned parts, and editors."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from unembed.contract.embedder import on_device
from unembed.errors import PluginError

__all__ = ["Corrector", "Editor", "Hypothesizer", "Part"]

Part = Callable[..., Tensor]  # what moves call by a name: rows in, signals out


class Hypothesizer(ABC):
    """The first guess: a target in, a few signals out, in one forward pass (zero steps)."""

    @final
    def parts(self) -> dict[str, Part]:
        """What the moves of a search can call: `guess`."""
        return {"guess": self.hypothesize}

    @final
    @torch.no_grad()
    def hypothesize(self, target: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Return `count` signals for each target `[N, D]`, best first, as `[N, count, ...]`.

        Rows of one target may repeat. Randomness, if any, comes from `generator` alone.
        """
        with on_device(target.device):
            signals = self._hypothesize(target, count, generator)
        return _counted(self, signals, len(target), count)

    @abstractmethod
    def _hypothesize(self, target: Tensor, count: int, generator: torch.Generator | None) -> Tensor: ...


class Corrector(ABC):
    """The correction: a target, a hypothesis and its embedding in, better signals out."""

    def parts(self, name: str = "correct") -> dict[str, Part]:
        """What the moves of a search can call: `correct` under that name, and what a subclass adds."""
        return {name: self.correct}

    @final
    @torch.no_grad()
    def correct(
        self,
        target: Tensor,
        hypothesis: Tensor,
        embedding: Tensor,
        count: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return `count` signals for each row, best first, as `[N, count, ...]`.

        `target` and `embedding` (of the hypothesis) are `[N, D]`, `hypothesis` is `[N, ...]`.
        """
        with on_device(target.device):
            signals = self._correct(target, hypothesis, embedding, count, generator)
        return _counted(self, signals, len(target), count)

    @abstractmethod
    def _correct(
        self,
        target: Tensor,
        hypothesis: Tensor,
        embedding: Tensor,
        count: int,
        generator: torch.Generator | None,
    ) -> Tensor: ...


class Editor(Corrector):
    """Small corrections that are tried and then put together: what several bring each, a combination may bring at once.

    The black box says what each edit does to the embedding; `combine` is told.
    """

    @final
    def parts(self, name: str = "correct") -> dict[str, Part]:
        """What the moves of a search can call: `correct` under that name, and `combine`."""
        return {name: self.correct, "combine": self.combine}

    @final
    @torch.no_grad()
    def combine(
        self,
        target: Tensor,
        hypothesis: Tensor,
        embedding: Tensor,
        edits: Tensor,
        answers: Tensor,
        count: int,
    ) -> Tensor:
        """Return `count` signals for each row, `[N, count, ...]`, from K edits of each hypothesis.

        Those are `edits` `[N, K, ...]` with the embeddings `answers` `[N, K, D]`; a row's edits may hold the
        hypothesis itself, and what was combined from the others before. `target` and `embedding` (of the
        hypothesis) are `[N, D]`.
        """
        with on_device(target.device):
            signals = self._combine(target, hypothesis, embedding, edits, answers, count)
        return _counted(self, signals, len(target), count)

    @abstractmethod
    def _combine(
        self, target: Tensor, hypothesis: Tensor, embedding: Tensor, edits: Tensor, answers: Tensor, count: int
    ) -> Tensor: ...


def _counted(owner: object, signals: Tensor, rows: int, count: int) -> Tensor:
    if signals.shape[:2] != (rows, count):
        raise PluginError(
            f"{type(owner).__name__} returned shape {tuple(signals.shape)}; "
            f"the contract is [{rows}, {count}, ...]: rows, then candidates"
        )
    return signals
