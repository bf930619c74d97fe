"""Rounding: 8 and 4 bits a value, signs, and product quantisation."""

import math
from typing import Any

import torch
from torch import Tensor

from unembed.contract.defence import Defence
from unembed.errors import InputError
from unembed_defend.defences.parameters import no_parameter, whole

__all__ = ["binary", "int4", "int8", "product_quantisation"]

GRANTED = "Everything; there is no secret."
CODES = 256  # of a part


class _Grid(Defence):
    """Each vector on a grid of `2 · levels + 1` values, scaled by its largest."""

    def __init__(self, name: str, levels: int, bits: int) -> None:
        super().__init__(name=name, granted=GRANTED, size=lambda width: width * bits / 8 + 4)
        self._levels = levels

    def _apply(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        step = vectors.abs().amax(1, keepdim=True).clamp_min(1e-30) / self._levels
        return (vectors / step).round() * step


class _Signs(Defence):
    def __init__(self) -> None:
        super().__init__(name="binary", granted=GRANTED, size=lambda width: width / 8)

    def _apply(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        length = math.sqrt(vectors.shape[1])
        return torch.where(vectors >= 0, 1 / length, -1 / length)


class _Parts(Defence):
    """Each of so many equal parts of a vector by the nearest of 256 centres (Jégou et al. 2011), with FAISS."""

    def __init__(self, parts: int, faiss: Any) -> None:
        super().__init__(name=f"pq:{parts}", granted=GRANTED, size=lambda width: float(parts))
        self._parts, self._faiss = parts, faiss

    def _fit(self, vectors: Tensor, generator: torch.Generator) -> None:
        count, width = vectors.shape
        if width % self._parts:
            raise InputError(f"{self.name}: vectors {width} wide don't divide into {self._parts} equal parts")
        if count < CODES:
            raise InputError(f"{self.name} is fitted to {CODES} vectors or more; there are {count}: give more texts")
        quantiser = self._faiss.ProductQuantizer(width, self._parts, 8)
        quantiser.cp.min_points_per_centroid = 1  # else it writes a warning to standard error
        quantiser.train(vectors.cpu().numpy())
        self._quantiser = quantiser

    def _apply(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        codes = self._quantiser.compute_codes(vectors.cpu().contiguous().numpy())
        return torch.from_numpy(self._quantiser.decode(codes)).to(vectors.device)


def int8(argument: str) -> Defence:
    """`int8`: whole numbers of −127 to 127 and one scale per vector."""
    no_parameter("int8", argument)
    return _Grid("int8", 127, 8)


def int4(argument: str) -> Defence:
    """`int4`: whole numbers of −7 to 7 and one scale per vector."""
    no_parameter("int4", argument)
    return _Grid("int4", 7, 4)


def binary(argument: str) -> Defence:
    """`binary`: the sign of each value; queries keep their values."""
    no_parameter("binary", argument)
    return _Signs()


def product_quantisation(argument: str) -> Defence:
    """`pq:PARTS`: so many parts, a byte each; needs FAISS."""
    import faiss

    return _Parts(whole("pq", argument, "PARTS", what="a number of parts"), faiss)
