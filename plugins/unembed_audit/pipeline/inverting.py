"""An inverter as the audit's loop wants it: vectors in, a `Recovered` for each out."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from unembed import Inverter
from unembed.engine.loop import Step
from unembed.engine.state import Candidates
from unembed_audit.pipeline.run import Recovered

__all__ = ["inverted", "same_to", "tokens_of"]


CANDIDATES = 8  # of a search that are told beside its result


def inverted(
    inverter: Inverter,
    batches: "Iterable[np.ndarray[Any, np.dtype[np.float32]]]",
    *,
    effort: str,
    seed: int,
    at_once: int | None = None,
) -> Iterator[Recovered]:
    """Invert batches of vectors `[n, D]`, `at_once` together; results come in order, as searches end."""
    best = _Best()
    found = inverter.inversions(
        batches, effort=inverter.settings(effort), at_once=at_once, seed=seed, candidates=True, on_step=best
    )
    for first, inversion in found:
        others = best.texts(inverter)
        for place, row in enumerate(inversion.rows(first=first)):
            text = str(row["reconstruction"])
            similarity = math.nan if row["similarity"] is None else row["similarity"]
            more = [(other, reached) for other, reached in others.get(place, []) if other != text]
            yield Recovered(
                place=row["index"],
                text=text,
                similarity=similarity,
                confidence=row["confidence"],
                verdict=row["verdict"],
                stopped=row["stopped"],
                steps=row["steps"],
                queries=row["queries"],
                candidates=(text, *(other for other, _ in more)),
                similarities=(similarity, *(reached for _, reached in more)),
            )


class _Best:
    """The best candidates of each vector of a search, gathered step by step."""

    def __init__(self) -> None:
        self.kept: Candidates | None = None

    def __call__(self, step: Step) -> None:
        """Take a step's candidates in; round 0 begins another search."""
        made = [one.candidates for one in step.made or ()]
        before = [] if step.number == 0 or self.kept is None else [self.kept]
        if before or made:
            self.kept = Candidates.cat([*before, *made]).best(CANDIDATES)

    def texts(self, inverter: Inverter) -> dict[int, list[tuple[str, float]]]:
        """By vector its candidates as texts with their similarities, the best first; then begin anew."""
        kept, self.kept = self.kept, None
        if kept is None or not len(kept):
            return {}
        found: dict[int, list[tuple[str, float]]] = {}
        texts = [str(text) for text in inverter.codec.decode(kept.signals)]
        rows = [row for row, text in enumerate(texts) if text]
        if not rows:
            return found
        again = inverter.codec.encode([texts[row] for row in rows]) == kept.signals[rows].cpu()
        owners, reached = kept.owner.tolist(), kept.similarity.tolist()
        for row, same in zip(rows, again.flatten(1).all(1).tolist(), strict=True):
            if same:  # else the similarity is another text's: decoding changed the signal
                found.setdefault(owners[row], []).append((texts[row], reached[row]))
        return found


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
