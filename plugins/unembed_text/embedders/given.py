"""Whatever stands for a text embedder, as one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unembed.contract.embedder import Embedder
from unembed.errors import InputError, brief
from unembed_text.embedders.base import TextAdapter, TextEmbedder
from unembed_text.embedders.function import FunctionEmbedder
from unembed_text.embedders.sentence_transformers import SentenceTransformerEmbedder

__all__ = ["black_box", "text_embedder"]

WANTED = "a name, an Embedder, a sentence-transformers model, or a function from a list of texts to vectors [N, D]"


def text_embedder(given: Any, device: torch.device, dimension: int | None = None) -> TextEmbedder:
    """What `given` stands for: an embedder's name, a `TextEmbedder`, a sentence-transformers model, or a function.

    The function takes a list of texts and returns vectors `[N, D]`, and so does the method `encode` of any other
    object that has one. Told the `dimension`, it isn't asked for it. Raises InputError for what reads no texts.
    """
    if isinstance(given, str):
        from unembed.registry.opening import load_embedder

        given = load_embedder(given, device=device)
    if isinstance(given, TextEmbedder):
        given.expect(dimension)
        return given
    if isinstance(given, Embedder):
        raise InputError(f"embedder {given.name!r} takes signals and no texts; give {WANTED}")
    if isinstance(given, type):
        raise InputError(f"embedder is the class {given.__name__}; give an object of it, as {given.__name__}(…) makes")
    if isinstance(given, nn.Module) and hasattr(given, "encode") and hasattr(given, "tokenizer"):
        return SentenceTransformerEmbedder(given, name="sentence-transformers", device=device)
    if hasattr(given, "encode"):
        return FunctionEmbedder(given.encode, device, name=type(given).__name__)
    if callable(given):
        return FunctionEmbedder(given, device)
    raise InputError(f"embedder {brief(repr(given))} reads no texts; give {WANTED}")


def black_box(
    given: Any, device: torch.device, dimension: int | None, decode: Callable[[Tensor], list[str]]
) -> Embedder:
    """`given` behind the signals that `decode` turns into texts; an `Embedder` that takes those signals as it is."""
    if isinstance(given, Embedder) and not isinstance(given, TextEmbedder) and given.modality == "text":
        given.expect(dimension)
        return given
    return TextAdapter(text_embedder(given, device, dimension), decode)
