"""What is studied: openings of the same passages at every length, and other texts for the attacker."""

from collections.abc import Sequence
from dataclasses import dataclass

from unembed import Inverter, SequenceCodec
from unembed.errors import InputError

__all__ = ["Passages", "passages"]

SLICE = 4096  # texts whose tokens are counted at once


@dataclass(frozen=True)
class Passages:
    """`texts` by their length in tokens, the same passages in each; `others` are openings of other passages."""

    texts: dict[int, list[str]]
    others: list[str]


def passages(
    inverter: Inverter, given: Sequence[str], *, samples: int, others: int, lengths: Sequence[int]
) -> Passages:
    """The openings of the first `samples` texts that reach the greatest of `lengths`, and up to `others` further ones.

    Those are cut to the lengths by turns. Raises InputError where no text is long enough.
    """
    codec, longest = inverter.codec, max(lengths)
    if not isinstance(codec, SequenceCodec):
        raise InputError(f"lengths are those of sequences; inverter {inverter.name!r} inverts something else")
    if longest > codec.width:
        raise InputError(f"{inverter.embedder.name!r} reads {codec.width} tokens; --lengths asks for {longest}")
    long: list[str] = []
    rest: dict[int, list[str]] = {length: [] for length in lengths}
    found = 0
    texts = list(dict.fromkeys(given))
    for start in range(0, len(texts), SLICE):
        part = texts[start : start + SLICE]
        for text, tokens in zip(part, codec.lengths(part), strict=True):
            fitting = [length for length in lengths if length <= tokens]
            if tokens >= longest and len(long) < samples:
                long.append(text)
            elif fitting and found < others:
                rest[fitting[found % len(fitting)]].append(text)
                found += 1
        if len(long) == samples and found >= others:
            break
    if not long:
        raise InputError(f"no text has {longest} tokens: give longer ones, or shorter --lengths")
    cut = {length: [str(text) for text in codec.decode(codec.first(long, length))] for length in lengths}
    known = {text for part in cut.values() for text in part}
    other = [str(one) for length, part in rest.items() if part for one in codec.decode(codec.first(part, length))]
    return Passages(cut, [text for text in dict.fromkeys(other) if text not in known])
