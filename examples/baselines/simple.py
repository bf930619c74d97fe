"""Baselines without a network of their own: the nearest known text, and least squares into the bundled network."""

import torch
from torch import Tensor
from torch.nn import functional as F

import unembed


class Nearest:
    """The text of the most similar known vector: what an attacker with a list of likely texts does."""

    def fit(self, vectors: Tensor, texts: list[str]) -> None:
        self.vectors, self.texts = F.normalize(vectors, dim=-1), texts

    def guess(self, vectors: Tensor) -> list[str]:
        return [self.texts[row] for row in (F.normalize(vectors, dim=-1) @ self.vectors.T).argmax(1).tolist()]


class LeastSquares:
    """ALGEN's way (Chen et al. 2025): plain least squares to the space of a trained decoder, which writes one guess."""

    def __init__(self, base: unembed.Inverter) -> None:
        self.base = base

    def fit(self, vectors: Tensor, texts: list[str]) -> None:
        self.map = torch.linalg.pinv(vectors.double()) @ self.base.embed(texts).double()

    def guess(self, vectors: Tensor) -> list[str]:
        mapped = (vectors.double() @ self.map).float()
        return self.base.codec.decode(self.base.hypothesizer.hypothesize(mapped, 1)[:, 0])
