"""An inverter as the audit's loop wants it: vectors in, a `Recovered` for each out."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from unembed import Inverter
from unembed_audit.pipeline.run import Recovered

__all__ = ["inverted", "same_to", "tokens_of"]


def inverted(
    inverter: Inverter,
    batches: "Iterable[np.ndarray[Any, np.dtype[np.float32]]]",
    *,
    effort: str,
    seed: int,
    at_once: int | None = None,
) -> Iterator[Recovered]:
    """Invert batches of vectors `[n, D]`, `at_once` together; results come in order, as searches end."""
    for row in inverter.stream(batches, effort=effort, seed=seed, at_once=at_once):
        yield Recovered(
            place=row["index"],
            text=str(row["reconstruction"]),
            similarity=math.nan if row["similarity"] is None else row["similarity"],
            confidence=row["confidence"],
            verdict=row.get("verdict"),
            stopped=row["stopped"],
            steps=row["steps"],
            queries=row["queries"],
        )


def same_to(inverter: Inverter, originals: Sequence[str], recovered: Sequence[str]) -> list[bool]:
    """Whether each recovered text equals its original in all that the inverter's embedder sees of it.

    A text longer than the codec takes is cut there, and never equal: what follows is lost.
    """
    codec = inverter.codec
    whole = [
        length <= width
        for length, width in zip(tokens_of(inverter, originals), _widths(inverter, originals), strict=True)
    ]
    equal = (codec.encode(list(originals)) == codec.encode(list(recovered))).flatten(1).all(1).tolist()
    return [one and both for one, both in zip(whole, equal, strict=True)]


def tokens_of(inverter: Inverter, texts: Sequence[str]) -> list[int]:
    """How many tokens each text has for the inverter's codec; words where it doesn't count them."""
    from unembed import SequenceCodec

    codec = inverter.codec
    return codec.lengths(list(texts)) if isinstance(codec, SequenceCodec) else [len(text.split()) for text in texts]


def _widths(inverter: Inverter, texts: Sequence[str]) -> list[int]:
    from unembed import SequenceCodec

    width = inverter.codec.width if isinstance(inverter.codec, SequenceCodec) else 10**9
    return [width] * len(texts)
