"""Texts to token ids as the embedder sees them, and back to text for people."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor

from unembed.contract.codec import SequenceCodec
from unembed.errors import InputError
from unembed_text.codecs.detokenize import detokenize, join_pieces

__all__ = ["TextCodec", "check_texts", "filled"]


class TextCodec(SequenceCodec):
    """`str` ↔ ids `[N, width]` without special tokens, padded on the right; longer texts are cut."""

    probes: ClassVar[Sequence[str]] = (
        "The quick brown fox jumps over the lazy dog.",
        "Invoice 4711 was paid on 3 May 2021.",
        "How do I reset my password?",
    )
    word: ClassVar[str | None] = r"\w+|[^\w\s]"

    def __init__(self, tokenizer: Any, width: int) -> None:
        self.tokenizer = tokenizer
        self.width = width

    def _encode(self, objects: Sequence[Any]) -> Tensor:
        rows = self._ids(objects)
        if [] in rows:
            row = rows.index([])
            raise InputError(f"input {row} holds no text: {objects[row]!r}")
        return filled(rows, self.width, self.tokenizer.pad_token_id)

    def _decode(self, signals: Tensor) -> list[str]:
        pad = self.tokenizer.pad_token_id
        rows = [[i for i in row if i != pad] for row in signals.tolist()]
        tokens = [self.tokenizer.convert_ids_to_tokens(row) for row in rows]
        texts = [detokenize(words) for words in tokens]
        # Natural spacing that would read back as other tokens gives way to a space between all words.
        for index, (row, read) in enumerate(zip(rows, self._ids(texts), strict=True)):
            if row != read:
                plain = " ".join(join_pieces(tokens[index]))
                if self._ids([plain]) == [row]:
                    texts[index] = plain
        return texts

    def _unseen(self, signals: Tensor) -> Tensor:
        unknown: int | None = self.tokenizer.unk_token_id
        if unknown is None:
            return super()._unseen(signals)
        return signals.eq(unknown).any(1)

    def _first(self, objects: Sequence[Any], length: int) -> Tensor:
        if not 1 <= length <= self.width:
            raise InputError(f"a length must be from 1 to {self.width} tokens; got {length}")
        rows = [ids[:length] for ids in self._ids(objects) if len(ids) >= length]
        return filled(rows, self.width, self.tokenizer.pad_token_id)

    def _lengths(self, objects: Sequence[Any]) -> list[int]:
        return [len(ids) for ids in self._ids(objects)]

    def _ids(self, objects: Sequence[Any]) -> list[list[int]]:
        check_texts(objects)
        plain = {"add_special_tokens": False, "return_attention_mask": False, "return_token_type_ids": False}
        ids: list[list[int]] = self.tokenizer(list(objects), verbose=False, **plain)["input_ids"]
        return ids


def check_texts(objects: Sequence[Any]) -> None:
    """Raise InputError for an object that is no text, or one that UTF-8 can't write."""
    for row, text in enumerate(objects):
        if not isinstance(text, str):
            raise InputError(f"input {row} is not text but {type(text).__name__}")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise InputError(f"input {row} isn't UTF-8 text (character {error.start}); convert it first") from error


def filled(rows: Sequence[Sequence[int]], width: int, pad: int) -> Tensor:
    """Rows of ids, cut to `width` and padded on the right: `[N, width]`."""
    rows = [row[:width] for row in rows]
    sizes = torch.tensor([len(row) for row in rows], dtype=torch.long)
    signals = torch.full((len(rows), width), pad)
    flat = torch.tensor(list(chain.from_iterable(rows)), dtype=torch.long)
    return signals.masked_scatter_(torch.arange(width) < sizes[:, None], flat)
