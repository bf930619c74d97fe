"""Prompts to the token ids of their model, and back."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from unembed.contract.codec import SequenceCodec
from unembed.errors import InputError
from unembed_lm.layout import ABSENT, joined, parted
from unembed_text.toolkit import TextCodec, check_texts, filled

__all__ = ["PromptCodec", "plain_ids", "widened"]


class PromptCodec(SequenceCodec):
    """`str` ↔ signals `[N, width + steps]`: a prompt's ids, and no continuation; longer prompts are cut.

    A prompt is plain text: what looks like a special token in it, as the end of a turn, is spelt out.
    """

    probes: ClassVar[Sequence[str]] = (
        "Write a haiku about rain.",
        "What is the capital of France?",
        "Sort a list of numbers in Python.",
    )
    word: ClassVar[str | None] = TextCodec.word

    def __init__(self, tokenizer: Any, *, width: int, steps: int) -> None:
        self.tokenizer, self.width, self.steps = tokenizer, width, steps

    def _encode(self, objects: Sequence[Any]) -> Tensor:
        rows = self._ids(objects)
        if [] in rows:
            row = rows.index([])
            raise InputError(f"input {row} holds no prompt: {objects[row]!r}")
        return self._signals(rows)

    def _decode(self, signals: Tensor) -> list[str]:
        prompts, _ = parted(signals, self.steps)
        rows = [[i for i in row if i != ABSENT] for row in prompts.tolist()]
        texts: list[str] = self.tokenizer.batch_decode(rows, clean_up_tokenization_spaces=False)
        return texts

    def _first(self, objects: Sequence[Any], length: int) -> Tensor:
        if not 1 <= length <= self.width:
            raise InputError(f"a length must be from 1 to {self.width} tokens; got {length}")
        return self._signals([ids[:length] for ids in self._ids(objects) if len(ids) >= length])

    def _lengths(self, objects: Sequence[Any]) -> list[int]:
        return [len(ids) for ids in self._ids(objects)]

    def _signals(self, rows: list[list[int]]) -> Tensor:
        prompts = filled(rows, self.width, ABSENT)
        return joined(prompts, torch.full((len(rows), self.steps), ABSENT))

    def _ids(self, objects: Sequence[Any]) -> list[list[int]]:
        check_texts(objects)
        return plain_ids(self.tokenizer, list(objects))


def plain_ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """The ids of texts without special tokens, also none that a text spells."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not texts or backend is None:
        found = tokenizer(texts, add_special_tokens=False, split_special_tokens=True, verbose=False) if texts else {}
        slow: list[list[int]] = found.get("input_ids", [])
        return slow
    # As the tokenizer would, which also lists masks and offsets: half of its time.
    backend.no_truncation()
    backend.no_padding()
    before = backend.encode_special_tokens
    backend.encode_special_tokens = True
    try:
        return [row.ids for row in backend.encode_batch_fast(texts, add_special_tokens=False)]
    finally:
        backend.encode_special_tokens = before


def widened(prompts: Tensor, width: int) -> Tensor:
    """Prompts `[..., L]` padded to `[..., width]`."""
    return F.pad(prompts, (0, width - prompts.shape[-1]), value=ABSENT)
