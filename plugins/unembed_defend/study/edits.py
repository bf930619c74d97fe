"""Near edits of a text, and whether any lies as near to its stored vector as the text itself."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mode

from torch import Tensor

from unembed.contract.similarity import cosine

__all__ = ["Nearness", "near_edits", "nearness"]

TRIES = 4  # draws for each edit that is wanted: of a short text many are the same
TIE = 1e-6  # of a cosine, as far as float32 tells
TWICE = 0.3  # of the edits are two of a word


@dataclass(frozen=True)
class Nearness:
    """Of `edits` different near edits: whether all are further off than the text, and 1 − cosine of the nearest."""

    edits: int
    nearest: bool
    margin: float


def near_edits(text: str, words: Sequence[str], word: str, count: int, seed: int) -> list[str]:
    """Up to `count` different texts with one or two words of `text` replaced, left out, added or exchanged.

    `word` is the regular expression of a word; new ones come from `words`, each as often as it stands there.
    """
    draw, found = random.Random(seed), dict[str, None]()
    pieces = re.split(f"({word})", text)  # words are at the odd places
    if len(pieces) < 3:
        return []
    for _ in range(TRIES * count):
        edited = _edited(pieces, words, draw)
        if draw.random() < TWICE and len(edited) >= 3:
            edited = _edited(edited, words, draw)
        made = "".join(edited).strip()
        if made and made != text:
            found[made] = None
        if len(found) >= count:
            break
    return list(found)


def nearness(stored: Tensor) -> Nearness:
    """Compare the stored vector of a text, the first of `[1 + K, E]`, with those of K near edits.

    They are compared as they come out of one batch, in which a text and its own copy would agree.
    """
    if len(stored) == 1:
        return Nearness(0, True, 1.0)
    near = float(cosine(stored[:1].expand(len(stored) - 1, -1), stored[1:]).max())
    return Nearness(len(stored) - 1, near < 1 - TIE, 1 - near)


def _edited(pieces: Sequence[str], words: Sequence[str], draw: random.Random) -> list[str]:
    """One word changed; a mark of punctuation stays where it is."""
    pieces = list(pieces)
    places = [place for place in range(1, len(pieces), 2) if pieces[place].isalnum()] or [1]
    place, kind = draw.choice(places), draw.choice(("replace", "replace", "leave out", "add", "exchange"))
    if kind == "replace":
        pieces[place] = draw.choice(words)
    elif kind == "add":
        between = pieces[2:-1:2]
        pieces[place:place] = [draw.choice(words), mode(between) if between else " "]
    elif kind == "leave out" and len(places) > 1:
        del pieces[place : place + 2]
    else:
        other = draw.choice(places)
        pieces[place], pieces[other] = pieces[other], pieces[place]
    return pieces
