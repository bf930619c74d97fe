"""Texts as T5 ids, exactly as a network wrote them, for any text embedder."""

from collections.abc import Sequence
from typing import Any, ClassVar

from tokenizers.models import BPE
from torch import Tensor
from torch.nn import functional as F

from unembed.contract.codec import SequenceCodec
from unembed.errors import InputError
from unembed_text.codecs.wordpiece import TextCodec, check_texts, filled

__all__ = ["T5Codec"]

WRITTEN = 128  # columns that hold whatever a network writes


class T5Codec(SequenceCodec):
    """`str` ↔ ids `[N, columns]` of a T5 tokenizer, the end token included, padded on the right.

    Signals are what the loop compares, so two texts that the embedder can't tell apart get the same ones: a text is
    cut to its first `width` tokens and, where that changes none of them, written as the tokenizer reads it back.
    Both are the embedder's own tokens where it has a `reader`, else T5's. A text that T5's ids can't spell becomes its
    UTF-8 bytes, as ids from `vocabulary` on; networks read the nearest T5 ids instead (see `written`). The empty text
    is one too: ids that spell nothing read as it.
    """

    probes: ClassVar[Sequence[str]] = TextCodec.probes

    def __init__(self, tokenizer: Any, *, vocabulary: int, width: int, reader: Any = None) -> None:
        self.tokenizer, self.vocabulary, self.width = tokenizer, vocabulary, width
        self.reader = reader or tokenizer
        self.pad, self.end = tokenizer.pad_token_id, tokenizer.eos_token_id
        self.columns = max(WRITTEN, 8 * width)  # a token is rarely longer than 8 bytes

    def signals(self, ids: Tensor) -> Tensor:
        """Ids `[..., L]` that a network wrote as signals."""
        return F.pad(ids, (0, self.columns - ids.shape[-1]), value=self.pad)

    def written(self, signals: Tensor) -> Tensor:
        """Signals as T5 ids `[N, L]` that a network can read."""
        spelt = (signals >= self.vocabulary).any(1)
        if spelt.any():
            rows = [[*ids, self.end][: self.columns] for ids in self._ids(self.tokenizer, self._decode(signals[spelt]))]
            signals = signals.masked_fill(spelt[:, None], self.pad)
            signals[spelt] = filled(rows, self.columns, self.pad).to(signals.device)
        return self._trimmed(signals)

    def _trimmed(self, signals: Tensor) -> Tensor:
        return signals[:, : max(1, int((signals != self.pad).sum(1).max()))]

    def _encode(self, objects: Sequence[Any]) -> Tensor:
        return self._spelt(self._seen(_checked(objects)))

    def _decode(self, signals: Tensor) -> list[str]:
        signals = self._trimmed(signals).cpu()
        spelt = signals >= self.vocabulary
        texts = self._read(signals.masked_fill(spelt, self.pad).tolist())
        for row in spelt[:, 0].nonzero()[:, 0].tolist():
            texts[row] = bytes((signals[row, spelt[row]] - self.vocabulary).tolist()).decode("utf-8")
        return texts

    def _lengths(self, objects: Sequence[Any]) -> list[int]:
        return [len(ids) for ids in self._ids(self.reader, _checked(objects))]

    def _first(self, objects: Sequence[Any], length: int) -> Tensor:
        if not 1 <= length <= self.width:
            raise InputError(f"a length must be from 1 to {self.width} tokens; got {length}")
        enough = [text for text, size in zip(objects, self._lengths(objects), strict=True) if size >= length]
        return self._spelt(self._seen(enough, length))

    def _seen(self, texts: Sequence[str], length: int | None = None) -> list[str]:
        """What the embedder sees of each text, as a text."""
        if not texts:
            return []
        found = self.reader(list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        rows = [ids[: length or self.width] for ids in found["input_ids"]]
        backs = self.reader.batch_decode(rows, skip_special_tokens=True, clean_up_tokenization_spaces=True)
        each = zip(texts, rows, backs, self._ids(self.reader, backs), found["offset_mapping"], strict=True)
        return [back if read == ids else text[: place[len(ids) - 1][1]] for text, ids, back, read, place in each]

    def _spelt(self, texts: Sequence[str]) -> Tensor:
        rows = [[*ids, self.end] for ids in self._ids(self.tokenizer, texts)]
        for index, (text, back) in enumerate(zip(texts, self._read(rows), strict=True)):
            if back != text or len(rows[index]) > self.columns:
                cut = text.encode()[: self.columns - 1].decode("utf-8", errors="ignore")
                rows[index] = [*(self.vocabulary + byte for byte in cut.encode()), self.end]
        return filled(rows, self.columns, self.pad)

    def _read(self, rows: Sequence[Sequence[int]]) -> list[str]:
        # As batch_decode, which takes one after the other; this takes all at once, on several threads.
        backend = self.tokenizer.backend_tokenizer
        texts = backend.decode_batch(rows, skip_special_tokens=True)
        return texts if isinstance(backend.model, BPE) else [self.tokenizer.clean_up_tokenization(x) for x in texts]

    @staticmethod
    def _ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
        return tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if texts else []


def _checked(objects: Sequence[Any]) -> list[str]:
    check_texts(objects)
    return list(objects)
