"""Linear maps, public and secret, and distance-comparison-preserving encryption, which is one with noise."""

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed.contract.defence import Defence
from unembed.errors import InputError
from unembed_defend.defences.parameters import above_zero, no_parameter, whole

__all__ = ["pca", "permutation", "random_projection", "rotation", "scale_and_perturb", "truncate"]

PUBLIC = "Everything; there is no secret."
SECRET = "The method; the {} stays secret, until pairs of vectors and texts show it."
SCALES = 2.0**10  # a secret scale lies between 1 and this


def _check_width(name: str, kept: int, width: int) -> None:
    if kept > width:
        raise InputError(f"{name} keeps more than there is: the vectors are {width} wide")


class _Truncated(Defence):
    def __init__(self, width: int) -> None:
        super().__init__(name=f"truncate:{width}", granted=PUBLIC)
        self._kept = width

    def _fit(self, vectors: Tensor, generator: torch.Generator) -> None:
        _check_width(self.name, self._kept, vectors.shape[1])

    def _apply(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        return vectors[:, : self._kept]

    def _query(self, vectors: Tensor) -> Tensor:
        return vectors[:, : self._kept]


class _Components(Defence):
    def __init__(self, width: int) -> None:
        super().__init__(name=f"pca:{width}", granted=PUBLIC)
        self._kept = width

    def _fit(self, vectors: Tensor, generator: torch.Generator) -> None:
        _check_width(self.name, self._kept, vectors.shape[1])
        self._mean = vectors.double().mean(0)
        values = vectors.double() - self._mean
        basis = torch.linalg.eigh(values.T @ values).eigenvectors
        self._basis = basis[:, -self._kept :].flip(1)

    def _apply(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        return self._query(vectors)

    def _query(self, vectors: Tensor) -> Tensor:
        values: Tensor = (vectors.double() - self._mean) @ self._basis
        return values.float()

    def _undo(self, stored: Tensor, width: int) -> Tensor:
        back: Tensor = stored.double() @ self._basis.T + self._mean
        return back.float()


class _SecretMap(Defence):
    """A secret matrix `[D, E]` of orthonormal columns: `width` of them, or a rotation."""

    def __init__(self, name: str, secret: str, width: int | None = None) -> None:
        super().__init__(name=name, granted=SECRET.format(secret), keyed=True)
        self._kept = width

    def _fit(self, vectors: Tensor, generator: torch.Generator) -> None:
        width = vectors.shape[1]
        kept = width if self._kept is None else self._kept
        _check_width(self.name, kept, width)
        basis, triangle = torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64))
        self._matrix = (basis * triangle.diagonal().sign())[:, :kept].to(vectors.device)

    def _apply(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        return self._query(vectors)

    def _query(self, vectors: Tensor) -> Tensor:
        moved: Tensor = vectors.double() @ self._matrix
        return moved.float()


class _Permuted(Defence):
    """Values in one secret order; with a secret scale, and noise within a ball of `noise` times that, if given."""

    def __init__(self, name: str, secret: str, noise: float | None = None) -> None:
        super().__init__(name=name, granted=SECRET.format(secret), keyed=True)
        self._noise = noise

    def _fit(self, vectors: Tensor, generator: torch.Generator) -> None:
        self._order = torch.randperm(vectors.shape[1], generator=generator).to(vectors.device)
        drawn = torch.rand((), generator=generator, dtype=torch.float64)
        self._scale = 1.0 if self._noise is None else float(SCALES**drawn)

    def _apply(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        scaled = self._scale * vectors
        if self._noise is not None:
            direction = F.normalize(torch.randn(vectors.shape, generator=generator), dim=1).to(vectors)
            length = torch.rand(len(vectors), 1, generator=generator).to(vectors) ** (1 / vectors.shape[1])
            scaled = scaled + self._scale * self._noise * length * direction
        return scaled[:, self._order]

    def _query(self, vectors: Tensor) -> Tensor:
        # An encryption of queries is one of stored vectors, noise included.
        return self._apply(vectors, torch.Generator().manual_seed(1))


def truncate(argument: str) -> Defence:
    """`truncate:WIDTH`: the first WIDTH values."""
    return _Truncated(whole("truncate", argument, "WIDTH", what="a width"))


def pca(argument: str) -> Defence:
    """`pca:WIDTH`: the first WIDTH principal components of the vectors that it is fitted to."""
    return _Components(whole("pca", argument, "WIDTH", what="a width"))


def random_projection(argument: str) -> Defence:
    """`randproj:WIDTH`: WIDTH orthonormal directions, drawn at random and kept secret."""
    width = whole("randproj", argument, "WIDTH", what="a width")
    return _SecretMap(f"randproj:{width}", "projection", width)


def rotation(argument: str) -> Defence:
    """`rotation`: one secret rotation of all vectors."""
    no_parameter("rotation", argument)
    return _SecretMap("rotation", "rotation")


def permutation(argument: str) -> Defence:
    """`permutation`: one secret order of the values."""
    no_parameter("permutation", argument)
    return _Permuted("permutation", "order")


def scale_and_perturb(argument: str) -> Defence:
    """`dcpe:BETA`: distance-comparison-preserving encryption, then one secret order of the values.

    Scale-and-Perturb (Fuchsbauer, Ghosal, Hauke and O'Neill 2022, "Approximate distance-comparison-preserving symmetric
    encryption", section 5) multiplies by a secret scale and adds noise that is uniform in a ball of the scale times
    BETA / 4. Unit vectors keep a cosine of about 1 / √(1 + BETA² / 16).
    """
    beta = above_zero("dcpe", argument, "BETA", what="an approximation factor")
    return _Permuted(f"dcpe:{argument}", "key: scale and order,", beta / 4)
