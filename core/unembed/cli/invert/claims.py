"""What `unembed invert` says on standard error of the vectors and of what came back, each thing once."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from unembed.contract.embedder import Embedder
    from unembed.inversion.inverter import Inverter
    from unembed.inversion.results import Row
    from unembed.sources.source import Source

__all__ = ["Claims", "about_norms", "note", "note_inputs"]

ALIKE = 0.02  # norms that differ by less are taken for one


def note(line: str) -> None:
    """Say a line on standard error."""
    click.echo(f"note: {line}", err=True)


class Claims:
    """What rows say of themselves, counted."""

    def __init__(self) -> None:
        self.total = 0
        self.rounded: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()

    def count(self, rows: "Iterable[Row]") -> None:
        """Take rows into account."""
        for row in rows:
            self.total += 1
            if row["precision"] not in (None, "float32"):
                self.rounded[row["precision"]] += 1
            if row["verdict"] is not None:
                self.verdicts[row["verdict"]] += 1

    def say(self, inverter: "Inverter") -> None:
        """Say what was found: rounding, vectors that aren't the embedder's, longer inputs, what it can't see."""
        if self.rounded:
            kinds = ", ".join(f"{name} ({count} of {self.total})" for name, count in self.rounded.most_common())
            note(f"the vectors are rounded: {kinds}; solved and exact allow for it where it hides nothing else")
        name = inverter.embedder.name
        sentences = {
            "unlike": f"end at a similarity that none of {name} does: they are another model's, altered, or of far "
            "longer inputs than it was calibrated on; don't trust their text",
            "longer": f"came back as long as inverter {inverter.name!r} writes ({inverter.longest}) and aren't exact: "
            "their inputs are probably longer",
            "unseen": f"hold what {name} can't tell from other things, as characters that it doesn't know; that can't "
            "come back",
        }
        for verdict, sentence in sentences.items():
            if self.verdicts[verdict]:
                note(f"{self.verdicts[verdict]} of {self.total} vectors {sentence}")


def about_norms(source: "Source", embedder: "Embedder") -> list[str]:
    """What the norms of a source's vectors tell, where their embedder gives vectors of norm 1."""
    low, high = source.norms
    if not embedder.normalized or source.precision != "float" or max(abs(low - 1), abs(high - 1)) <= ALIKE:
        return []
    if high - low <= ALIKE * high:
        return [f"the vectors have norm {high:.3g}, those of {embedder.name} norm 1: their direction alone counts"]
    return [
        f"the vectors have norms of {low:.3g} to {high:.3g}, those of {embedder.name} norm 1: they were altered, are "
        "sums or differences, or are another model's"
    ]


def note_inputs(inverter: "Inverter", inputs: Sequence[Any]) -> None:
    """Say which inputs the embedder doesn't see to their end, and which are longer than the inverter writes."""
    from unembed.contract.codec import SequenceCodec

    codec, longest = inverter.codec, inverter.longest
    if not isinstance(codec, SequenceCodec):
        return
    for index, length in enumerate(codec.lengths(list(inputs))):
        if length > codec.width:
            note(f"input {index} has {length} tokens; {inverter.embedder.name} sees the first {codec.width}")
        elif longest is not None and length > longest:
            note(f"input {index} has {length} tokens; inverter {inverter.name!r} writes at most {longest}")
