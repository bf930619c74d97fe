"""Texts and their vectors in two spaces: asked for, or read from where they lie together."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from unembed.contract.codec import SequenceCodec
from unembed.errors import InputError
from unembed.inversion.inverter import Inverter
from unembed.sources.opening import open_source

__all__ = ["Progress", "chosen_texts", "embedded", "leaked_pairs"]

AT_ONCE = 256  # texts between two reports of progress
Progress = Callable[[str, int, int], None]  # what is being done, how much of it is done, of how much


def chosen_texts(
    texts: Sequence[str], base: Inverter, *, pairs: int, lengths: Sequence[int] = (), seed: int = 0
) -> list[str]:
    """Up to `pairs` different texts, drawn at random.

    Given `lengths`, they are cut to their first so many tokens of the base's codec, each length in turn. Otherwise
    they stay whole, and every other one is spelt as the base spells what it recovers (MiniLM's in lower case), so
    that the map learns where both spellings of a text lie.
    """
    distinct = list(dict.fromkeys(texts))
    order = torch.randperm(len(distinct), generator=torch.Generator().manual_seed(seed)).tolist()
    drawn = [distinct[place] for place in order]
    if not lengths:
        drawn = drawn[:pairs]
        spelt = base.codec.decode(base.codec.encode(drawn[::2]))
        return [spelt[place // 2] if place % 2 == 0 else text for place, text in enumerate(drawn)]
    codec = base.codec
    if not isinstance(codec, SequenceCodec):
        raise InputError(f"inverter {base.name!r} has no tokens to cut texts by")
    share = -(-pairs // len(lengths))
    cut = []
    for place, length in enumerate(lengths):
        few = drawn[place :: len(lengths)]
        cut += codec.decode(codec.first(few[: 8 * share], length)[:share])
    return list(dict.fromkeys(cut))[:pairs]


def embedded(
    texts: Sequence[str], embed: Callable[[Sequence[str]], Tensor], what: str, progress: Progress | None = None
) -> Tensor:
    """The vectors `[N, D]` of texts, some at a time."""
    parts = []
    for start in range(0, len(texts), AT_ONCE):
        parts.append(embed(texts[start : start + AT_ONCE]))
        if progress is not None:
            progress(what, min(start + AT_ONCE, len(texts)), len(texts))
    return torch.cat(parts)


def leaked_pairs(place: str | Path, *, pairs: int, column: str | None = None) -> tuple[list[str], Tensor]:
    """Texts and the vectors that lie beside them in a source: up to `pairs` different texts, and `[N, A]`.

    Raises InputError where no record has both, or where vectors are of several widths.
    """
    source = open_source(place, column)
    texts: dict[str, Tensor] = {}
    for batch in source.batches():
        for text, vector in zip(batch.texts or [None] * len(batch), torch.tensor(batch.vectors), strict=True):
            if text and text.strip():
                texts.setdefault(text, vector.clone())
        if len(texts) >= pairs:
            break
    if not texts:
        raise InputError(f"{place}: no record has its text beside its vector; give an embedder and texts instead")
    if len(source.widths) > 1:
        raise InputError(f"{place} holds vectors of several widths ({', '.join(map(str, source.widths))}): name one")
    drawn = list(texts)[:pairs]
    return drawn, torch.stack([texts[text] for text in drawn])
