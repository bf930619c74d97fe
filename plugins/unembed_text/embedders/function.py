"""A function from texts to vectors as a black box."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from unembed.errors import InputError
from unembed_text.embedders.base import TextEmbedder, as_bytes, from_bytes

__all__ = ["FunctionEmbedder"]


class FunctionEmbedder(TextEmbedder):
    """A function from a list of texts to vectors as the black box. Signals are UTF-8 bytes `[N, L]`, padded with 0."""

    def __init__(self, function: Callable[[list[str]], Any], device: torch.device | str = "cpu") -> None:
        self._function = function
        width = self._asked(["width"]).shape[1]
        name = getattr(function, "__name__", type(function).__name__)
        super().__init__(name=name, modality="text", dimension=width, normalized=False, device=device)

    def _asked(self, texts: list[str]) -> Tensor:
        try:
            found = torch.as_tensor(self._function(texts), dtype=torch.float32)
        except (TypeError, ValueError) as error:
            raise InputError(f"the function that embeds must return an array of numbers [N, D]: {error}") from error
        if found.ndim != 2 or len(found) != len(texts):
            raise InputError(f"the function that embeds returned shape {list(found.shape)} for {len(texts)} texts")
        return found

    def _signals(self, texts: Sequence[str]) -> Tensor:
        return as_bytes(texts)

    def _embed(self, signals: Tensor) -> Tensor:
        return self._asked(from_bytes(signals)).to(self.device)
