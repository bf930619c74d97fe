"""Text embedders as black boxes, whatever they run on."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor

from unembed.contract.embedder import Embedder

__all__ = ["TextAdapter", "TextEmbedder", "as_bytes", "from_bytes"]


class TextEmbedder(Embedder):
    """A black box that reads texts, whatever the signals are that it takes itself.

    `tokenizer` is that of the model and `max_tokens` how many of its tokens it reads, without special ones
    and prompt; both are None where a model doesn't run here and doesn't say.
    """

    tokenizer: Any = None
    max_tokens: int | None = None

    @final
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Embed N texts as float32 `[N, D]`; counts N queries."""
        return self.embed(self._signals(texts))

    @abstractmethod
    def _signals(self, texts: Sequence[str]) -> Tensor:
        """The texts as the signals that `_embed` takes; longer ones are cut to what the model reads."""


class TextAdapter(Embedder):
    """A text embedder behind signals that `decode` turns into the texts that it reads."""

    def __init__(self, embedder: TextEmbedder, decode: Callable[[Tensor], list[str]]) -> None:
        self.texts, self._decode = embedder, decode
        super().__init__(
            name=embedder.name,
            modality="text",
            dimension=embedder.dimension,
            normalized=embedder.normalized,
            device=embedder.device,
            meter=embedder.meter,
            available=embedder.available,
        )

    def _embed(self, signals: Tensor) -> Tensor:
        return self.texts.embed_texts(self._decode(signals))


def as_bytes(texts: Sequence[str]) -> Tensor:
    """Texts as UTF-8, uint8 `[N, L]`, padded with 0."""
    rows = [text.encode() for text in texts]
    signals = torch.zeros(len(rows), max(map(len, rows), default=0), dtype=torch.uint8)
    for signal, row in zip(signals, rows, strict=True):
        signal[: len(row)] = torch.frombuffer(bytearray(row), dtype=torch.uint8) if row else 0
    return signals


def from_bytes(signals: Tensor) -> list[str]:
    """The texts behind `as_bytes`."""
    return [bytes(row).rstrip(b"\0").decode("utf-8", errors="replace") for row in signals.tolist()]
