"""What was done to vectors before they were stored, as far as their numbers alone tell: codes, bits, padding, scale.

Pure functions of a sample. Whether vectors come from some embedder at all is another question, not asked here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from unembed.errors import InputError
from unembed.sources.records import Vectors
from unembed.sources.sphere import shifted

__all__ = ["Undo", "advise", "from_ranges", "recentre", "recognise", "unfit"]

_ONE_SCALE, _OWN_RANGES = 2.75, 2.1  # kurtosis: of normal numbers 3, of a bell cut at its ends 2.5, of even ones 1.8
_FEWEST_PADS = 8


@dataclass(frozen=True)
class Undo:
    """A step that undoes what was recognised: `apply` gives vectors of `width`, `note` says what it did.

    `precision` is what is left of the numbers: float, int8 or sign. With `needs_ranges` the codes can't be undone
    from themselves: each dimension has a range of its own, which `from_ranges` takes.
    """

    note: str
    width: int
    apply: Callable[[Vectors], Vectors]
    precision: str = "float"
    needs_ranges: bool = False


def recognise(sample: Vectors, width: int | None = None) -> Undo | None:
    """What a sample of vectors `[N, D]` shows, or None where nothing is to be undone or said.

    `width` is that of the embedder, where it is known: bits and padding are told by it.
    """
    whole = np.asarray(sample, dtype=np.float32)
    own = whole.shape[1]
    if not whole.size or not np.isfinite(whole).all():
        return None
    integral = bool((whole == np.round(whole)).all())
    if width is not None and own < width and integral:
        return _bits(whole, width)
    if width is not None and own > width:
        return _padding(whole, width)
    return _codes(whole) if integral else _cut(whole)


def recentre(sample: Vectors) -> Undo | None:
    """The step that undoes an offset, a missing mean or a scale a dimension, or None where norms tell of none."""
    found = shifted(sample)
    return None if found is None else Undo(found.note, sample.shape[1], found.undo)


def _bits(sample: Vectors, width: int) -> Undo | None:
    """Sign bits, eight a byte, the first number in the highest bit: as they are, or less 128 as signed bytes."""
    if sample.shape[1] != -(-width // 8) or sample.min() < -128 or sample.max() > 255:
        return None
    offset = 128 if sample.min() < 0 else 0
    stored = "signed bytes, less 128" if offset else "bytes"

    def unpacked(vectors: Vectors) -> Vectors:
        raw = (vectors + offset).astype(np.uint8)
        return np.unpackbits(raw, axis=1, count=width).astype(np.float32) * 2 - 1

    note = f"{sample.shape[1]} {stored} hold {width} sign bits: unpacked to -1 and 1; results are of sign precision"
    return Undo(note, width, unpacked, "sign")


def _padding(sample: Vectors, width: int) -> Undo | None:
    """Zeros after the embedder's width."""
    extra = sample.shape[1] - width
    if extra < _FEWEST_PADS or sample[:, width:].any():
        return None
    inner = recognise(sample[:, :width], width)
    note = f"numbers from {width} on are all zero: {extra} of padding dropped"
    if inner is None:
        return Undo(note, width, lambda vectors: np.ascontiguousarray(vectors[:, :width]))
    apply = inner.apply
    return replace(inner, note=f"{note}; {inner.note}", apply=lambda vectors: apply(vectors[:, :width]))


def _cut(sample: Vectors) -> Undo | None:
    """Vectors whose later numbers were set to zero: nothing brings those back."""
    width = sample.shape[1]
    used = np.flatnonzero(np.abs(sample).max(0))
    kept = int(used[-1]) + 1 if len(used) else 0
    if width - kept < _FEWEST_PADS:
        return None
    return Undo(f"numbers from {kept} on are all zero: vectors were cut, and what is left tells less", width, _same)


def _codes(sample: Vectors) -> Undo | None:
    """Integers: signs, or codes of eight bits."""
    width, low, high = sample.shape[1], float(sample.min()), float(sample.max())
    values = np.unique(sample)
    if set(values.tolist()) <= {-1.0, 1.0}:
        return Undo("values are signs, -1 and 1; results are of sign precision", width, _same, "sign")
    if set(values.tolist()) <= {0.0, 1.0}:
        note = "values are bits, 0 and 1: read as -1 and 1; results are of sign precision"
        return Undo(note, width, lambda vectors: vectors * 2 - 1, "sign")
    if low < -128 or high > 255 or (low < 0 and high > 127) or len(values) < 16:
        return None
    offset = 128.0 if low >= 0 else 0.0
    kind = "uint8" if offset else "int8"
    shape = _kurtosis(sample)
    if shape >= _ONE_SCALE:
        rest = "; 128 subtracted" if offset else ""
        note = f"values are {kind} codes of one scale{rest}; results are of int8 precision"
        return Undo(note, width, lambda vectors: vectors - np.float32(offset), "int8")
    if shape >= _OWN_RANGES:
        note = (
            f"values are {kind} codes over a range of each dimension's own: give the ranges (lowest and highest of "
            f"each dimension), or what comes back is nonsense"
        )
        return Undo(note, width, _same, "int8", needs_ranges=True)
    note = (
        f"values are {kind} codes spread evenly over all codes, as when numbers beyond the range wrapped around: they "
        f"are damaged; quantise again with wider ranges"
    )
    return Undo(note, width, _same, "int8", needs_ranges=True)


def _same(vectors: Vectors) -> Vectors:
    return vectors


def _kurtosis(sample: Vectors) -> float:
    centred = sample.astype(np.float64) - sample.mean()
    variance = float((centred**2).mean())
    return float((centred**4).mean()) / variance**2 if variance else 0.0


def from_ranges(ranges: NDArray[np.floating], *, signed: bool) -> Undo:
    """The step that turns codes of eight bits back into numbers: `ranges` is `[2, D]`, lowest and highest.

    `signed` codes are -128 to 127, others 0 to 255. Raises InputError for ranges of another shape.
    """
    found = np.asarray(ranges, dtype=np.float64)
    if found.ndim != 2 or found.shape[0] != 2 or not np.isfinite(found).all() or (found[1] < found[0]).any():
        raise InputError(
            f"ranges have shape {list(found.shape)}; they are two rows, the lowest and the highest number of each "
            f"dimension"
        )
    low, high = found
    offset = 128 if signed else 0

    def restored(vectors: Vectors) -> Vectors:
        if vectors.shape[1] != len(low):
            raise InputError(f"the ranges are of {len(low)} dimensions, the vectors are {vectors.shape[1]} wide")
        found: Vectors = ((vectors.astype(np.float64) + offset) / 255 * (high - low) + low).astype(np.float32)
        return found

    note = "codes of eight bits turned back into numbers by the ranges given; results are of int8 precision"
    return Undo(note, len(low), restored, "int8")


def advise(width: int, wanted: int) -> str:
    """A sentence on vectors of another width than the embedder's."""
    if width < wanted:
        packed = f"; {wanted // 8} bytes would be its sign bits" if width * 8 < wanted else ""
        return f"vectors are {width} wide, narrower than the embedder's {wanted}: were they cut?{packed}"
    return f"vectors are {width} wide, the embedder's {wanted}: are they another model's?"


def unfit(width: int, wanted: int, inverter: str) -> str:
    """Why an inverter can't take vectors of another width than its embedder's, in one line."""
    asked = "were they cut, or are they another model's?" if width < wanted else "are they another model's?"
    return f"the vectors are {width} wide; inverter {inverter!r} takes vectors that are {wanted} wide: {asked}"
