"""One small network for both roles: without a hypothesis it guesses, with one it corrects."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unembed
from unembed_memos.embedder import DIMENSION
from unembed_memos.language import LENGTH, WORDS

__all__ = ["MemoCorrector", "MemoHypothesizer", "MemoNetwork", "sample"]


class MemoNetwork(nn.Module):
    """Scores `[N, 12, words + 1]` of every word at every place, the end of the memo among them."""

    def __init__(self, *, hidden: int, layers: int) -> None:
        super().__init__()
        known = 32
        self.words = nn.Embedding(len(WORDS) + 1, known)
        self.first = nn.Linear(2 * DIMENSION + LENGTH * known + 1, hidden)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, hidden))
            for _ in range(layers)
        )
        self.last = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, LENGTH * (len(WORDS) + 1)))

    def scores(self, target: Tensor, hypothesis: Tensor | None, embedding: Tensor | None) -> Tensor:
        """What the target says, and, to correct, what the hypothesis says and where its embedding is off."""
        if hypothesis is None or embedding is None:
            rest = target.new_zeros(len(target), self.first.in_features - DIMENSION)
        else:
            there = target.new_ones(len(target), 1)
            rest = torch.cat([3 * (target - embedding), self.words(hypothesis).flatten(1), there], 1)
        state = self.first(torch.cat([target * DIMENSION**0.5, rest], 1))
        for block in self.blocks:
            state = state + block(state)
        scores = self.last(state).unflatten(1, (LENGTH, len(WORDS) + 1))
        empty = torch.zeros_like(scores, dtype=torch.bool)
        empty[:, 0, 0] = True  # a memo has a first word
        return scores.masked_fill(empty, -1e4)

    def forward(
        self, target: Tensor, signals: Tensor, hypothesis: Tensor | None = None, embedding: Tensor | None = None
    ) -> Tensor:
        """The mean loss of a batch, which the trainer lowers."""
        return F.cross_entropy(self.scores(target, hypothesis, embedding).flatten(0, 1), signals.flatten())


def sample(scores: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """`count` memos a row, the likeliest first, the others drawn by the scores: `[N, count, 12]`."""
    shape = (len(scores), count, *scores.shape[1:])
    uniform = torch.rand(shape, generator=generator, device=scores.device).clamp(1e-9, 1 - 1e-6)
    noise = -torch.log(-torch.log(uniform))  # the largest of scores plus Gumbel noise is a sample
    noise[:, 0] = 0
    signals = (scores[:, None] + noise).argmax(-1)
    return signals * (signals > 0).long().cumprod(-1)  # nothing follows the end


class MemoHypothesizer(unembed.Hypothesizer):
    """First guesses from the target alone."""

    def __init__(self, network: MemoNetwork) -> None:
        self.network = network

    def _hypothesize(self, target: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
        return sample(self.network.scores(target, None, None), count, generator)


class MemoCorrector(unembed.Corrector):
    """Better memos from the target, a hypothesis and the hypothesis's own embedding."""

    def __init__(self, network: MemoNetwork) -> None:
        self.network = network

    def _correct(
        self, target: Tensor, hypothesis: Tensor, embedding: Tensor, count: int, generator: torch.Generator | None
    ) -> Tensor:
        return sample(self.network.scores(target, hypothesis, embedding), count, generator)
