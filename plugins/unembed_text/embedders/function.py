"""A function from texts to vectors as a black box."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unembed.errors import InputError, UnembedError, brief
from unembed_text.embedders.base import TextEmbedder, as_bytes, from_bytes

__all__ = ["FunctionEmbedder"]


class FunctionEmbedder(TextEmbedder):
    """A function from a list of texts to vectors as the black box. Signals are UTF-8 bytes `[N, L]`, padded with 0."""

    def __init__(
        self, function: Callable[[list[str]], Any], device: torch.device | str = "cpu", *, name: str = ""
    ) -> None:
        self._function = function
        self._called = name or getattr(function, "__name__", type(function).__name__)
        try:
            width = self._asked(["width"]).shape[1]
        except UnembedError:
            raise
        except Exception as error:  # a stranger's function: whatever it raises at its first call is said in our words
            raise InputError(
                f"embedder {self._called!r} must take a list of texts and return vectors [N, D]; for ['width'] it "
                f"raised {type(error).__name__}: {brief(error)}"
            ) from error
        super().__init__(name=self._called, modality="text", dimension=width, normalized=False, device=device)

    def _asked(self, texts: list[str]) -> Tensor:
        found = self._function(texts)
        try:
            if isinstance(found, list | tuple) and found and isinstance(found[0], Tensor):
                found = torch.stack(list(found))
            found = torch.as_tensor(
                found if isinstance(found, Tensor) else np.asarray(found, dtype=np.float32), dtype=torch.float32
            )
        except (TypeError, ValueError) as error:
            raise InputError(f"the function that embeds must return an array of numbers [N, D]: {error}") from error
        if found.ndim != 2 or len(found) != len(texts):
            raise InputError(f"the function that embeds returned shape {list(found.shape)} for {len(texts)} texts")
        return found

    def _signals(self, texts: Sequence[str]) -> Tensor:
        return as_bytes(texts)

    def _embed(self, signals: Tensor) -> Tensor:
        return self._asked(from_bytes(signals)).to(self.device)
