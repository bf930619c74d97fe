"""The memos: a few sentence forms over 157 words, and the way from a memo to a row of word numbers and back."""

import random
import zlib
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

import unembed

__all__ = ["LENGTH", "WORDS", "MemoCodec", "held_out", "memo"]

LENGTH = 12  # words of the longest memo

SLOTS = {
    "name": """anna ben carla david emma felix grace henry irene jonas karen leo maria nora oscar paul rosa simon tara
        victor""",
    "role": "banker boss doctor driver guard lawyer nurse neighbour plumber teacher tenant witness",
    "meets": "avoids blames calls follows hires meets pays sees sues thanks trusts visits warns",
    "sends": "brings gives lends offers owes promises returns sells sends shows",
    "thing": """bill camera car contract diary diamond file invoice key lease letter medicine necklace painting parcel
        passport password phone photo piano recipe report suitcase ticket umbrella will""",
    "about": "accident affair debt divorce fever fire funeral inheritance loan operation pregnancy strike theft trial",
    "place": "airport bakery bank bridge church clinic court garage harbour hotel library museum office park station",
    "city": "athens berlin cairo dublin geneva lisbon madrid oslo paris prague rome vienna",
    "day": "monday tuesday wednesday thursday friday saturday sunday",
    "time": "dawn midnight noon sunset",
}
FORMS = """
    {name} {meets} the {role} at the {place} on {day}
    {name} {meets} {name} in {city} about the {about}
    on {day} {name} {sends} the {role} a {thing}
    at {time} the {role} {meets} {name} near the {place}
    the {role} {sends} {name} the {thing} after the {about}
    {name} and {name} keep the {thing} in {city}
    tell the {role} that {name} {meets} {name} at {time}
    the {about} in {city} was before {name} left on {day}
    {name} hid the {thing} near the {place} in {city}
    please bring the {thing} to {name} at the {place} at {time}
    nobody but {name} knows about the {about} of the {role}
    {name} never {sends} {name} the {thing} before {day}
"""

_SLOTS = {slot: words.split() for slot, words in SLOTS.items()}
_FORMS = [line.split() for line in FORMS.strip().splitlines()]
WORDS = sorted({word for words in [*_SLOTS.values(), *_FORMS] for word in words if not word.startswith("{")})
_NUMBER = {word: number for number, word in enumerate(WORDS, start=1)}


def memo(draw: random.Random) -> str:
    """A memo at random: a form, its slots filled."""
    words = [_SLOTS[word[1:-1]] if word.startswith("{") else [word] for word in draw.choice(_FORMS)]
    return " ".join(draw.choice(choices) for choices in words)


def held_out(text: str) -> bool:
    """Whether a memo is one of the sixteenth that training never shows."""
    return zlib.crc32(text.encode()) % 16 == 0


class MemoCodec(unembed.SequenceCodec):
    """`str` ↔ int64 `[N, 12]`: words from 1, padded with 0."""

    probes: ClassVar[Sequence[str]] = ("anna meets ben", "the lawyer sues the bank", "bring the key to oscar at noon")
    word: ClassVar[str | None] = r"\w+"
    width = LENGTH

    def _encode(self, objects: Sequence[Any]) -> Tensor:
        signals = torch.zeros(len(objects), LENGTH, dtype=torch.long)
        for row, text in enumerate(objects):
            words = _words(row, text)[:LENGTH]
            signals[row, : len(words)] = torch.tensor([_NUMBER[word] for word in words])
        return signals

    def _decode(self, signals: Tensor) -> list[str]:
        return [" ".join(WORDS[number - 1] for number in row if number) for row in signals.tolist()]

    def _lengths(self, objects: Sequence[Any]) -> list[int]:
        return [len(_words(row, text)) for row, text in enumerate(objects)]

    def _first(self, objects: Sequence[Any], length: int) -> Tensor:
        rows = [_words(row, text)[:length] for row, text in enumerate(objects)]
        cut = [" ".join(words) for words in rows if len(words) >= length]
        return self._encode(cut) if cut else torch.zeros(0, LENGTH, dtype=torch.long)


def _words(row: int, text: Any) -> list[str]:
    words = text.lower().split() if isinstance(text, str) else []
    strange = sorted(set(words) - _NUMBER.keys())
    if not words or strange:
        why = f"doesn't know {', '.join(strange)}" if strange else "has no words"
        raise unembed.InputError(f"input {row} isn't a memo over {len(WORDS)} words: {text!r} {why}")
    return words
