"""The two networks of Morris et al. 2023 (section 4): a T5 that guesses, and one that corrects.

Each reads embeddings as a few encoder positions, made by a projection of its own. The guess is read from the
target alone. The correction reads the target, the hypothesis's embedding, their difference and the
hypothesis's tokens, an end token before each, all under one layer norm.
"""

from typing import Any

import torch
from torch import Tensor, nn

from unembed_text.decoder.decoder import Special
from unembed_text.decoder.network import Projection, T5Network

__all__ = ["CorrectionNetwork", "GuessNetwork", "PairNetwork", "as_read", "cut", "ended"]


class GuessNetwork(T5Network):
    """target `[N, D]` → texts. `config` is a T5Config's dictionary."""

    def __init__(
        self, config: dict[str, Any], *, dimension: int, positions: int, hidden: int, special: Special, tied: bool
    ) -> None:
        super().__init__(config, dimension=dimension, special=special, tied=tied)
        self.target = Projection(dimension, hidden, positions, self.width)

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
        self.target = Projection(dimension, hidden, positions, self.width)
        self.hypothesis = Projection(dimension, hidden, positions, self.width)
        self.difference = Projection(dimension, hidden, positions, self.width)
        self.layernorm = nn.LayerNorm(self.width) if layernorm else nn.Identity()
        self.feedback = feedback

    def encode(self, target: Tensor, hypothesis: Tensor | None, embedding: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `T5Network.encode`."""
        if hypothesis is None or embedding is None:
            raise ValueError("a correction needs a hypothesis and its embedding")
        embedding = embedding if self.feedback else target
        embed = self.decoder.token_embed
        end = embed.weight[self.special.end].expand(len(target), 1, -1)
        parts = [
            end,
            self.target(target),
            end,
            self.hypothesis(embedding),
            end,
            self.difference(target - embedding),
            end,
            embed(hypothesis),
        ]
        return self.encoded(self.layernorm(torch.cat([part.to(parts[1].dtype) for part in parts], 1)), hypothesis)


class PairNetwork(nn.Module):
    """Both networks as one to train: with no hypothesis the loss is the guess's, with one the correction's.

    `tokens` is the most that a text has, its end among them.
    """

    def __init__(self, guess: GuessNetwork, correction: CorrectionNetwork, *, tokens: int) -> None:
        super().__init__()
        self.guess, self.correction, self.tokens = guess, correction, tokens

    def forward(
        self,
        target: Tensor,
        signals: Tensor,
        hypothesis: Tensor | None = None,
        embedding: Tensor | None = None,
    ) -> Tensor:
        """See `T5Network.forward`; signals and hypotheses are ids without their end."""
        loss: Tensor
        if hypothesis is None:
            loss = self.guess(target, signals)
            return loss
        special = self.correction.special
        read = as_read(ended(hypothesis, special, self.tokens - 1), special, self.tokens)
        loss = self.correction(target, signals, read, embedding)
        return loss


def ended(ids: Tensor, special: Special, shorter: int) -> Tensor:
    """Ids `[..., L]` as `[..., L + 1]`, with their end where they are fewer than `shorter`."""
    ids = torch.cat([ids, torch.full_like(ids[..., :1], special.pad)], -1)
    size = (ids != special.pad).sum(-1, keepdim=True)
    return ids.scatter(-1, size, torch.where(size < shorter, special.end, special.pad))


def as_read(hypothesis: Tensor, special: Special, tokens: int) -> Tensor:
    """Ids `[N, L]` as a corrector reads them: after the start token, one without an end cut to `tokens` − 1."""
    read = cut(hypothesis, special, tokens)
    longest = max(1, int((read != special.pad).sum(1).max()))
    return torch.cat([torch.full_like(read[:, :1], special.start), read[:, :longest]], 1)


def cut(ids: Tensor, special: Special, tokens: int) -> Tensor:
    """Ids `[N, L]`, one without an end cut to `tokens` − 1."""
    endless = (ids != special.end).all(1, keepdim=True)
    beyond = torch.arange(ids.shape[1], device=ids.device) >= tokens - 1
    return ids.masked_fill(endless & beyond, special.pad)
