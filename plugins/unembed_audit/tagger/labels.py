"""Tags of words: where a span of each kind begins (B) and goes on (I)."""

from collections.abc import Sequence
from itertools import pairwise

from unembed_audit.findings.kinds import KINDS

__all__ = ["OUTSIDE", "TAGS", "UNSURE", "begin", "inside", "kind_of", "mended", "spans_of"]

OUTSIDE = 0
UNSURE = -100  # a word whose tag isn't known: nothing is learnt from it
TAGS: tuple[str, ...] = ("O", *(f"{place}-{name}" for name in KINDS for place in "BI"))


def begin(kind: str) -> int:
    """The tag of the first word of a span."""
    return TAGS.index(f"B-{kind}")


def inside(kind: str) -> int:
    """The tag of every other word of a span."""
    return TAGS.index(f"I-{kind}")


def kind_of(tag: int) -> str | None:
    """The kind of a tag, None outside of spans and where it isn't known."""
    return None if tag in (OUTSIDE, UNSURE) else TAGS[tag][2:]


def mended(tags: Sequence[int]) -> list[int]:
    """Tags in which every span begins with a B: an I that follows another kind, or nothing, becomes one."""
    pairs = pairwise([OUTSIDE, *tags])
    return [
        begin(str(kind_of(tag))) if tag > OUTSIDE and TAGS[tag][0] == "I" and kind_of(was) != kind_of(tag) else tag
        for was, tag in pairs
    ]


def spans_of(tags: Sequence[int]) -> list[tuple[int, int, str]]:
    """Spans as first word, word after the last, kind; an I without a B before it begins one."""
    found: list[tuple[int, int, str]] = []
    for place, tag in enumerate(mended(tags)):
        kind = kind_of(tag)
        if kind is None:
            continue
        if TAGS[tag][0] == "B":
            found.append((place, place + 1, kind))
        else:
            found[-1] = (found[-1][0], place + 1, kind)
    return found
