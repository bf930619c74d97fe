"""A defence: what is done to vectors before they are stored."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from unembed.errors import InputError, PluginError

__all__ = ["Defence"]


class Defence(ABC):
    """Changes vectors before they are stored, so that they give away less.

    A subclass calls `super().__init__` with what it declares and implements `_apply`; one that learns from vectors or
    draws a key implements `_fit` too.

    - `name`: as on the command line, its parameter in it: `gaussian:0.01`.
    - `granted`: in a sentence, what an attacker is taken to know of it, and what stays secret.
    - `keyed`: whether it depends on a secret that `fit` draws. What isn't keyed an attacker can do too, to texts of
      their own.
    - `size`: the bytes that a stored vector of E values takes; 4 each unless said otherwise.
    """

    def __init__(
        self,
        *,
        name: str,
        granted: str,
        keyed: bool = False,
        size: Callable[[int], float] = lambda width: 4.0 * width,
    ) -> None:
        self.name = name
        self.granted = granted
        self.keyed = keyed
        self.size = size
        self._width: int | None = None

    @final
    @torch.no_grad()
    def fit(self, vectors: Tensor, seed: int = 0) -> None:
        """Learn what it needs from clean vectors `[N, D]`, and draw its key by `seed`; raises InputError."""
        if vectors.ndim != 2 or not len(vectors):
            raise InputError(f"{self.name} is fitted to vectors [N, D]; got {list(vectors.shape)}")
        self._width = vectors.shape[1]
        self._fit(vectors.float(), torch.Generator().manual_seed(seed))

    @final
    @torch.no_grad()
    def apply(self, vectors: Tensor, seed: int = 0) -> Tensor:
        """What is stored of vectors `[N, D]`, as it is read back: float32 `[N, E]`. `seed` draws the noise, if any.

        Raises InputError before `fit`, and PluginError where `_apply` returns something else than finite rows.
        """
        return self._checked(vectors, lambda given: self._apply(given, torch.Generator().manual_seed(seed)))

    @final
    @torch.no_grad()
    def query(self, vectors: Tensor) -> Tensor:
        """What a search compares with the stored vectors: queries `[N, D]` as `[N, E]`, without noise or rounding."""
        return self._checked(vectors, self._query)

    @final
    @torch.no_grad()
    def undo(self, stored: Tensor) -> Tensor:
        """Stored vectors `[N, E]` brought back to `[N, D]` by what an attacker knows without the key."""
        if self._width is None:
            raise InputError(f"{self.name} must be fitted first")
        return self._undo(stored, self._width)

    def _fit(self, vectors: Tensor, generator: torch.Generator) -> None:  # noqa: B027
        """Learn from vectors `[N, D]`; nothing, unless a subclass does."""

    @abstractmethod
    def _apply(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        """Return `[N, E]`; `generator`, on the CPU, draws the noise."""

    def _query(self, vectors: Tensor) -> Tensor:
        """Return `[N, E]`; the vectors themselves, unless a subclass moves stored vectors elsewhere."""
        return vectors

    def _undo(self, stored: Tensor, width: int) -> Tensor:
        """Return `[N, width]`; vectors padded with zeros, unless a subclass knows better."""
        return torch.nn.functional.pad(stored, (0, max(0, width - stored.shape[1])))[:, :width]

    def _checked(self, vectors: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        if self._width is None:
            raise InputError(f"{self.name} must be fitted first")
        if vectors.ndim != 2 or vectors.shape[1] != self._width:
            raise InputError(f"{self.name} was fitted to vectors {self._width} wide; got {list(vectors.shape)}")
        changed = change(vectors.float()).float()
        if changed.ndim != 2 or len(changed) != len(vectors) or not changed.shape[1]:
            raise PluginError(
                f"defence {self.name} made {list(changed.shape)} of {list(vectors.shape)}; rows must stay"
            )
        if not torch.isfinite(changed).all():
            raise PluginError(f"defence {self.name} made NaN or infinity")
        return changed
