"""Several defences, one after the other."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unembed.contract.defence import Defence

__all__ = ["Chained"]


class Chained(Defence):
    """Each of `defences` applied to what the one before it made, as `pca:96+int8`."""

    def __init__(self, defences: Sequence[Defence]) -> None:
        super().__init__(
            name="+".join(one.name for one in defences),
            granted=" ".join(dict.fromkeys(one.granted for one in defences)),
            keyed=any(one.keyed for one in defences),
            size=defences[-1].size,
        )
        self._defences = list(defences)

    def _fit(self, vectors: Tensor, generator: torch.Generator) -> None:
        for one in self._defences:
            one.fit(vectors, _seed(generator))
            vectors = one.apply(vectors, _seed(generator))

    def _apply(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        for one in self._defences:
            vectors = one.apply(vectors, _seed(generator))
        return vectors

    def _query(self, vectors: Tensor) -> Tensor:
        for one in self._defences:
            vectors = one.query(vectors)
        return vectors

    def _undo(self, stored: Tensor, width: int) -> Tensor:
        for one in reversed(self._defences):
            stored = one.undo(stored)
        return stored


def _seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**31, (), generator=generator))
