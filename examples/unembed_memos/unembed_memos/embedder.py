"""The black box: an encoder that nobody trained."""

import torch
from torch import Tensor
from torch.nn import functional as F

import unembed
from unembed_memos.language import WORDS

__all__ = ["DIMENSION", "EchoEmbedder", "by_name"]

DIMENSION = 32


class EchoEmbedder(unembed.Embedder):
    """A random recurrent network over the words; its mean state, normalised, is the embedding.

    Such echo-state encoders do well on sentence tasks without any training (Wieting and Kiela 2019, section 3).
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        super().__init__(name="echo", modality="memo", dimension=DIMENSION, normalized=True, device=device)
        draw = torch.Generator().manual_seed(1)
        rotation = torch.linalg.qr(torch.randn(DIMENSION, DIMENSION, generator=draw)).Q
        self._recurrence = (0.9 * rotation).to(self.device)
        self._words = torch.randn(len(WORDS) + 1, DIMENSION, generator=draw).to(self.device)

    def _embed(self, signals: Tensor) -> Tensor:  # [N, 12] → [N, 32]
        state = total = self._words.new_zeros(len(signals), DIMENSION)
        for words in signals.T:
            there = (words > 0)[:, None]
            state = torch.where(there, torch.tanh(state @ self._recurrence + self._words[words]), state)
            total = total + state * there
        return F.normalize(total, dim=-1)


def by_name(argument: str, device: torch.device) -> EchoEmbedder:
    """`echo`, which takes no argument."""
    if argument:
        raise unembed.InputError(f"echo takes no argument, not {argument!r}")
    return EchoEmbedder(device)
