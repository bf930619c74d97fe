"""The cells of the study: how many tokens, of a vector how wide, how made narrower, how precise."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from unembed.errors import InputError
from unembed_defend.attackers.attempts import CLEAN

__all__ = ["LENGTHS", "PRECISIONS", "Reduction", "reductions", "widths_of"]

LENGTHS = (8, 16, 24, 32, 48, 64, 96, 128)  # tokens
WAYS = {"pca": "PCA", "randproj": "random projection"}  # to fewer values, by the defences' names
PRECISIONS = {"float32": ("", 32), "int8": ("int8", 8), "1 bit": ("binary", 1)}  # the defence, and bits a value


@dataclass(frozen=True)
class Reduction:
    """What becomes of a vector before it is stored: `way` (None at full width), then rounding."""

    width: int
    way: str | None
    precision: str

    @property
    def name(self) -> str:
        """The defence that does it, as `unembed defend` takes it; "clean" for none."""
        parts = [f"{self.way}:{self.width}"] if self.way else []
        return "+".join([*parts, *filter(None, [PRECISIONS[self.precision][0]])]) or CLEAN

    @property
    def bits(self) -> int:
        """Of a value."""
        return PRECISIONS[self.precision][1]

    @property
    def label(self) -> str:
        """In words."""
        return f"{self.width}, {'full' if self.way is None else WAYS[self.way]}, {self.precision}"


def widths_of(full: int, asked: Sequence[int] | None = None) -> tuple[int, ...]:
    """The widths to study, the widest first: those `asked` for, or the full one, its half, quarter and eighth."""
    if asked is None:
        return tuple(dict.fromkeys(max(2, full // part) for part in (1, 2, 4, 8)))
    if wrong := [width for width in asked if not 2 <= width <= full]:
        raise InputError(f"widths go from 2 to {full}, that of the embedder; got {wrong[0]}")
    return tuple(sorted(set(asked), reverse=True))


def reductions(full: int, widths: Sequence[int]) -> list[Reduction]:
    """All of them: every width by every way, and the full one as it is, at every precision."""
    ways = [(width, way) for width in widths for way in ((None,) if width == full else WAYS)]
    return [Reduction(width, way, precision) for (width, way), precision in product(ways, PRECISIONS)]
