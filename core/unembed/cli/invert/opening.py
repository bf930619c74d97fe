"""What `unembed invert` is given, opened: the source, what of it is inverted, and fingerprints of both."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unembed.errors import InputError

if TYPE_CHECKING:
    from unembed.bulk.order import Order
    from unembed.engine.effort import Effort
    from unembed.inversion.inverter import Inverter
    from unembed.inversion.targets import InputTargets, SourceTargets
    from unembed.sources.source import Source

__all__ = ["Vectors", "fingerprint", "targets_of"]


@dataclass(frozen=True)
class Vectors:
    """The options of a source of vectors, as given."""

    vectors: str | None
    column: str | None
    collection: str | None
    ranges: Path | None
    strict: bool
    order: str | None
    sample: int | None

    def check(self) -> None:
        """Raise InputError for an option that belongs to vectors where there are none."""
        for name, value in vars(self).items():
            if value not in (None, False) and self.vectors is None:
                raise InputError(f"--{name} belongs to --vectors")

    @cached_property
    def ordered(self) -> "Order":
        """The order; raises InputError."""
        from unembed.bulk.order import Order, order_of

        return Order() if self.order is None else order_of(self.order)

    @cached_property
    def numbers(self) -> Any:
        """The two rows of a file of ranges, an array or the arrays `low` and `high` of an .npz; None without one."""
        if self.ranges is None:
            return None
        from zipfile import BadZipFile

        import numpy as np

        from unembed.sources.vectors import read_vectors

        kind = self.ranges.suffix
        try:
            if kind == ".npy":
                return np.load(self.ranges, allow_pickle=False).astype(np.float64)
            if kind == ".npz":
                with np.load(self.ranges, allow_pickle=False) as file:
                    if {"low", "high"} <= set(file.files):
                        return np.stack([file["low"], file["high"]]).astype(np.float64)
        except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:
            raise InputError(f"--ranges {self.ranges} isn't a readable {kind} file of numbers: {error}") from error
        return read_vectors(self.ranges)

    def open(self, width: int | None) -> "Source | None":
        """The source, None where none is given; `width` chooses among its columns."""
        from unembed.sources.opening import open_source

        return None if self.vectors is None else open_source(
            self.vectors,
            self.column,
            collection=self.collection,
            width=width,
            payloads=self.ordered.name == "by",
            strict=self.strict,
            ranges=self.numbers,
        )  # fmt: skip

    def precision(self) -> str | None:
        """That of codes over ranges of their own, an even error within each step; None where there are none."""
        if self.ranges is None:
            return None
        import numpy as np

        low, high = self.numbers
        steps = (high - low) / 255
        return f"noise:{float(np.sqrt((steps**2).mean() / 12)):.6g}"


def targets_of(
    model: "Inverter", inputs: tuple[str, ...], source: "Source | None", given: Vectors, seed: int
) -> "InputTargets | SourceTargets":
    """What is inverted; raises InputError for vectors of another width."""
    from unembed.bulk.order import Selection
    from unembed.inversion.keeping import digest
    from unembed.inversion.targets import InputTargets, SourceTargets, content_of
    from unembed.sources.undo import unfit

    if source is None or given.vectors is None:
        return InputTargets(model, inputs)
    if source.width != model.dimension:
        raise InputError(unfit(source.width, model.dimension, model.name))
    selection = Selection(given.ordered, given.sample, seed)
    content = content_of(given.vectors, source)
    beside = None if given.ranges is None else given.numbers.tolist()
    chosen = () if selection.whole else (str(given.ordered), given.sample)
    inputs_are = digest(content, given.column, given.collection, beside, *chosen)
    return SourceTargets(source, model.dimension, inputs_are, strict=given.strict, selection=selection)


def fingerprint(model: "Inverter", search: "Effort", precision: str | None, seed: int, words: bool) -> str:
    """A fingerprint of all that results depend on beside what is inverted."""
    from unembed.checkpoints.manifest import manifest_json
    from unembed.inversion.keeping import digest

    checkpoint = None if model.manifest is None else manifest_json(model.manifest)
    effort = re.sub(r" at 0x[0-9a-f]+", "", repr(search))  # of what says nothing better of itself
    return digest(model.name, checkpoint, model.embedder.name, effort, precision, seed, *(["words"] if words else []))
