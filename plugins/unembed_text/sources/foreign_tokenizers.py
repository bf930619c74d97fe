"""Reading other people's tokenizers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unembed.errors import InputError, MissingExtraError
from unembed_text.sources.foreign_weights import reach_hub

__all__ = ["first_line", "read_tokenizer", "token_limit", "without_bars"]


def read_tokenizer(source: str) -> Any:
    """The tokenizer of a folder or hub id; raises InputError."""
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtraError("text embedders need an extra: pip install 'unembed[text]'") from error
    reach_hub(source)
    try:
        with without_bars():
            return AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise InputError(f"can't load the tokenizer of {source!r}: {first_line(error)}") from error


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep the bars of transformers off standard error while a model is loaded."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def token_limit(tokenizer: Any, config: Any) -> int:
    """How many tokens a model reads, as its tokenizer or its config says, else 512."""
    said = [tokenizer.model_max_length, getattr(config, "max_position_embeddings", None)]
    return min((int(value) for value in said if value and value < 10**6), default=512)


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its kind."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
