"""Whatever stands for a text embedder, as one."""

from typing import Any

import torch

from unembed.contract.embedder import Embedder
from unembed.errors import InputError
from unembed_text.embedders.base import TextEmbedder
from unembed_text.embedders.function import FunctionEmbedder
from unembed_text.embedders.sentence_transformers import SentenceTransformerEmbedder

__all__ = ["text_embedder"]


def text_embedder(given: Any, device: torch.device, dimension: int | None = None) -> TextEmbedder:
    """What `given` stands for: an embedder's name, a `TextEmbedder`, a sentence-transformers model, or a function.

    The function takes a list of texts and returns vectors `[N, D]`. Told the `dimension`, it isn't asked for it.
    Raises InputError for what reads no texts.
    """
    if isinstance(given, str):
        from unembed.registry.opening import load_embedder

        given = load_embedder(given, device=device)
    if isinstance(given, TextEmbedder):
        given.expect(dimension)
        return given
    if not isinstance(given, Embedder) and hasattr(given, "encode") and hasattr(given, "tokenizer"):
        return SentenceTransformerEmbedder(given, name="sentence-transformers", device=device)
    if callable(given):
        return FunctionEmbedder(given, device)
    raise InputError(f"embedder {getattr(given, 'name', given)!r} reads no texts")
