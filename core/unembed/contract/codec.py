"""The way in and out: objects to signals and back."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from unembed.errors import InputError

__all__ = ["Codec", "SequenceCodec"]


class Codec(ABC):
    """The way in and out: a user's objects (`str`, `PIL.Image`) to signals and back.

    `probes` are a few fixed objects whose embeddings identify an embedder (see `unembed.fingerprint`).
    """

    probes: ClassVar[Sequence[Any]]

    @final
    def encode(self, objects: Sequence[Any]) -> Tensor:
        """Turn N ≥ 1 objects into signals `[N, ...]`; raises InputError for an object that can't be one."""
        if len(objects) == 0:
            raise InputError("there is nothing to encode: the list of inputs is empty")
        return self._encode(objects)

    @final
    def decode(self, signals: Tensor) -> list[Any]:
        """Turn signals `[N, ...]` back into N objects that a person can use."""
        return self._decode(signals) if len(signals) else []

    @final
    def unseen(self, signals: Tensor) -> Tensor:
        """Whether each of signals `[N, ...]` holds what the embedder can't tell from other things: bool `[N]`.

        As text whose characters a tokenizer doesn't know: one placeholder stands for them all.
        """
        return self._unseen(signals)

    def _unseen(self, signals: Tensor) -> Tensor:
        return torch.zeros(len(signals), dtype=torch.bool)

    @abstractmethod
    def _encode(self, objects: Sequence[Any]) -> Tensor: ...

    @abstractmethod
    def _decode(self, signals: Tensor) -> list[Any]: ...


class SequenceCodec(Codec):
    """A codec of sequences, of which a signal holds at most the first `width` elements."""

    width: int

    @final
    def lengths(self, objects: Sequence[Any]) -> list[int]:
        """How many elements each object has, before any are cut off."""
        return self._lengths(objects) if len(objects) else []

    @final
    def first(self, objects: Sequence[Any], length: int) -> Tensor:
        """Signals of the first `length` elements of those objects that have at least as many, in order."""
        signals = self._first(objects, length)
        if len(signals) == 0:
            raise InputError(f"none of the {len(objects)} inputs has {length} elements or more")
        return signals

    @abstractmethod
    def _lengths(self, objects: Sequence[Any]) -> list[int]: ...

    @abstractmethod
    def _first(self, objects: Sequence[Any], length: int) -> Tensor: ...
