"""What a plugin gives the trainer: the network, the black box, the examples and a way to save."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unembed.contract.embedder import Embedder
from unembed.inversion.inverter import Inverter

__all__ = ["Recipe"]


class Recipe(ABC):
    """One method's side of training.

    `network(target, signals, hypothesis, embedding)` returns the mean loss of a batch; with no hypothesis
    it is the hypothesizer's loss, with one the corrector's. `noise=` goes with them where `observe` tells any.
    `reads_all` says that each batch has a gradient for every parameter, so that several processes needn't look for
    those that have none.
    """

    network: nn.Module
    embedder: Embedder
    reads_all: bool = False

    @abstractmethod
    def batches(self, count: int, generator: torch.Generator) -> list[Tensor]:
        """`count` batches of signals drawn with the CPU `generator` and nothing else."""

    def embed(self, signals: Tensor) -> Tensor:
        """The black box as training asks it: a plugin may trade some of its precision for speed."""
        return self.embedder.embed(signals)

    def observe(self, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Embeddings `[N, D]` as training shows them to the network, such as with noise, and what it is told of that.

        What it is told, a row each, is given as `noise` to the network and to `propose`; None is nothing.
        """
        return target, None

    def scalars(self) -> dict[str, float]:
        """More to log of the steps since it was last asked, as the parts of a loss."""
        return {}

    @abstractmethod
    def propose(
        self,
        target: Tensor,
        hypothesis: Tensor | None,
        embedding: Tensor | None,
        signals: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """One signal a row from the current network: a first guess, or a correction of `hypothesis`.

        `signals` are those that the targets were made from: their shape is a size to work in, and a plugin may
        also propose something near them, such as a search meets in its last rounds.
        """

    @abstractmethod
    def compile(self) -> None:
        """Compile what is worth it; called once, on an accelerator."""

    @abstractmethod
    def inverter(self) -> Inverter:
        """The network as it is now, as an inverter: for the evaluations and samples during training."""

    @abstractmethod
    def held_out(self) -> list[tuple[str, list[Any]]]:
        """Named lists of held-out objects to measure on during training."""

    @abstractmethod
    def save(self, folder: Path, training: dict[str, Any]) -> None:
        """Write the network as a checkpoint that `unembed.load` opens; `training` goes into its manifest."""

    @abstractmethod
    def flops(self, signals: Tensor, corrected: bool) -> float | Tensor:
        """Floating-point operations of one training batch, forward and backward, padding left out.

        A scalar tensor on the device holds nothing up, where a number would have to be waited for.
        """
