"""The two networks of Morris et al. 2023 (section 4): a T5 that guesses, and one that corrects.

Each reads embeddings as a few encoder positions, made by a projection of its own. The guess is read from the
target alone. The correction reads the target, the hypothesis's embedding, their difference and the
hypothesis's tokens, an end token before each, all under one layer norm.
"""

from typing import Any

import torch
from torch import Tensor, nn

from unembed_text.network import Projection, Special, T5Network

__all__ = ["CorrectionNetwork", "GuessNetwork", "PairNetwork"]


class GuessNetwork(T5Network):
    """target `[N, D]` → texts. `config` is a T5Config's dictionary."""

    def __init__(
        self, config: dict[str, Any], *, dimension: int, positions: int, hidden: int, special: Special, tied: bool
    ) -> None:
        super().__init__(config, dimension=dimension, special=special, tied=tied)
        self.target = Projection(dimension, hidden, positions, self.t5.config.d_model)

    def encode(self, target: Tensor, hypothesis: Tensor | None, embedding: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `T5Network.encode`; a hypothesis isn't read."""
        return self.encoded(self.target(target), None)


class CorrectionNetwork(T5Network):
    """target and hypothesis's embedding `[N, D]`, hypothesis ids `[N, L]` → texts.

    With `feedback` off the hypothesis's embedding isn't looked at, the paper's ablation; `layernorm` is off in
    checkpoints of before it was added.
    """

    def __init__(
        self,
        config: dict[str, Any],
        *,
        dimension: int,
        positions: int,
        hidden: int,
        special: Special,
        tied: bool,
        feedback: bool = True,
        layernorm: bool = True,
    ) -> None:
        super().__init__(config, dimension=dimension, special=special, tied=tied)
        width = self.t5.config.d_model
        self.target = Projection(dimension, hidden, positions, width)
        self.hypothesis = Projection(dimension, hidden, positions, width)
        self.difference = Projection(dimension, hidden, positions, width)
        self.layernorm = nn.LayerNorm(width) if layernorm else nn.Identity()
        self.feedback = feedback

    def encode(self, target: Tensor, hypothesis: Tensor | None, embedding: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `T5Network.encode`."""
        if hypothesis is None or embedding is None:
            raise ValueError("a correction needs a hypothesis and its embedding")
        embedding = embedding if self.feedback else target
        shared = self.t5.shared
        end = shared.weight[self.special.end].expand(len(target), 1, -1)
        parts = [
            end,
            self.target(target),
            end,
            self.hypothesis(embedding),
            end,
            self.difference(target - embedding),
            end,
            shared(hypothesis),
        ]
        return self.encoded(self.layernorm(torch.cat([part.to(parts[1].dtype) for part in parts], 1)), hypothesis)


class PairNetwork(nn.Module):
    """Both networks as one to train: with no hypothesis the loss is the guess's, with one the correction's."""

    def __init__(self, guess: GuessNetwork, correction: CorrectionNetwork) -> None:
        super().__init__()
        self.guess, self.correction = guess, correction

    def forward(
        self,
        target: Tensor,
        signals: Tensor,
        hypothesis: Tensor | None = None,
        embedding: Tensor | None = None,
    ) -> Tensor:
        """See `T5Network.forward`."""
        network = self.guess if hypothesis is None else self.correction
        return network(target, signals, hypothesis, embedding)
