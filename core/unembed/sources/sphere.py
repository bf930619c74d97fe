"""Vectors that lay on a sphere before they were shifted or scaled: where its centre was, from their norms alone.

An embedder that normalises gives u with |u| = 1. Stored as v = (u - m) / s they satisfy an equation that is linear in
what was done, Σ s²v² + 2 Σ smv + |m|² = 1, so least squares find m and s, up to one scale, which does no harm.
"""

import numpy as np
from numpy.typing import NDArray

from unembed.sources.records import Vectors

__all__ = ["Shift", "shifted", "uneven"]

_EVEN = 1e-3  # spread of squared norms that rounding to half precision leaves
_BETTER, _ROUND = 0.1, 1e-2  # a shift is believed where it leaves this part of the spread, and no more than that
_RESOLVED = 1e-6  # directions that change less are float32's rounding
_HELD_OUT = 5  # every fifth vector checks what the others say

Array = NDArray[np.float64]


class Shift:
    """`undo` gives vectors `[N, D]` whose norms are all alike; `note` says in words what was found."""

    def __init__(self, scale: Array, shift: Array, note: str) -> None:
        self.scale, self.shift, self.note = scale, shift, note

    def undo(self, vectors: Vectors) -> Vectors:
        """The vectors `[N, D]` as they were, of norm 1."""
        found: Vectors = (vectors.astype(np.float64) * self.scale + self.shift).astype(np.float32)
        return found


def uneven(vectors: Vectors) -> bool:
    """Whether the norms differ, so that something may have been shifted."""
    return _spread(vectors.astype(np.float64)) > _EVEN


def shifted(vectors: Vectors) -> Shift | None:
    """What shifted or scaled a sample `[N, D]` of unit vectors, or None where nothing explains its norms.

    One offset is told from 34 vectors, a centre from 32 + 1.25 D, a centre and a scale a dimension from 32 + 2.5 D.
    """
    rows = vectors.astype(np.float64)
    count, width = rows.shape
    before = _spread(rows)
    if before <= _EVEN or count < 32:
        return None
    ones = np.ones((count, 1))
    attempts = [
        (rows.sum(1, keepdims=True), "one number was added to every value ({mean:+.3g}); subtracted"),
        (rows, "a vector, such as the mean of all, was taken from every vector; added back"),
        (np.hstack([rows, rows**2]), "every dimension was shifted and scaled by numbers of its own; undone"),
    ]
    fit = np.arange(count) % _HELD_OUT > 0
    for design, words in attempts:
        if count < 32 + 1.25 * design.shape[1]:
            continue
        squares = (rows**2).sum(1)
        goal = -(rows[:, 0] ** 2) if design.shape[1] > width else squares
        full = np.hstack([design, ones])
        if design.shape[1] > width:  # up to one scale: that of the first dimension is 1
            full = np.delete(full, width, axis=1)
        solved = np.linalg.lstsq(full[fit], goal[fit], rcond=_RESOLVED)[0]
        found = _read(solved, width, design.shape[1])
        if found is None:
            continue
        scale, shift = found
        restored = rows[~fit] * scale + shift
        after = _spread(restored)
        if after <= min(_BETTER * before, _ROUND):
            size = np.linalg.norm(restored, axis=1).mean()
            note = words.format(mean=-float(shift.mean()))
            return Shift(scale / size, shift / size, f"norms say that {note}")
    return None


def _read(solved: Array, width: int, columns: int) -> tuple[Array, Array] | None:
    """Scale and shift, `[D]` each, from the coefficients of the equation."""
    if columns <= width:  # |v|² = 2 c·v + rest: the centre is c
        return np.ones(width), -np.broadcast_to(solved[:-1] / 2, (width,)).copy()
    linear, squared = solved[:width], np.concatenate([[1.0], solved[width:-1]])
    least = 1e-4 * float(np.median(squared))
    if least <= 0 or squared.min() < -least:
        return None
    told = squared > least  # the others hardly change: nothing is known of them, and nothing lost
    scale = np.sqrt(np.where(told, squared, 0))
    return scale, np.where(told, linear / (2 * np.where(told, scale, 1)), 0)


def _spread(rows: Array) -> float:
    """How much squared norms differ, as a part of the vectors' variance, which no shift changes."""
    variance = rows.var(0).sum()
    return float((rows**2).sum(1).std() / variance) if variance else 0.0
