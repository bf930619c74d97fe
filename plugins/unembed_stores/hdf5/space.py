"""Bytes of an HDF5 file that no object owns, searched for rows of float32."""

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

__all__ = ["unowned"]

_LARGEST_SPREAD = 8.0  # in powers of two, between the tenth and the ninetieth of a hundred
_GAP = 3


def unowned(place: str, width: int, size: int) -> Iterator[NDArray[np.float32]]:
    """Rows of that width in space without an owner, at most `size` at a time.

    Data sets are stored in one piece or in chunks; what lies between them is headers, indices and free space. Rows
    are told by their numbers: finite, hardly any tiny or huge, and alike in size.
    """
    owned = _owned(place)
    with open(place, "rb") as file:
        for first, last in owned:
            length = last - first
            if length < width * 4:
                continue
            file.seek(first)
            yield from _rows(file.read(length), width, size)


def _owned(place: str) -> list[tuple[int, int]]:
    """The gaps between stored data, as first and last byte."""
    taken: list[tuple[int, int]] = []

    def visit(name: str, found: Any) -> None:
        if not isinstance(found, h5py.Dataset):
            return
        offset = found.id.get_offset()
        if offset is not None:
            taken.append((offset, offset + found.id.get_storage_size()))
        elif found.chunks is not None:
            for at in range(found.id.get_num_chunks()):
                info = found.id.get_chunk_info(at)
                taken.append((info.byte_offset, info.byte_offset + info.size))

    with h5py.File(place, "r") as file:
        file.visititems(visit)
        end = file.id.get_filesize()
    gaps, at = [], 0
    for first, last in sorted(taken):
        if first > at:
            gaps.append((at, first))
        at = max(at, last)
    return [*gaps, (at, end)] if end > at else gaps


def _rows(raw: bytes, width: int, size: int) -> Iterator[NDArray[np.float32]]:
    """Rows of numbers, at most `size` at a time."""
    values = np.frombuffer(raw[: len(raw) // 4 * 4], "<f4")
    with np.errstate(all="ignore"):
        magnitude = np.abs(values.astype(np.float64))
        plausible = (magnitude > 1e-12) & (magnitude < 1e4)
    found: list[NDArray[np.float32]] = []
    for first, last in _runs(plausible):
        if last - first < width:
            continue
        first += _aligned(values[first:last], width)
        rows = values[first : first + (last - first) // width * width].reshape(-1, width)
        found.extend(row for row in rows if _alike(row))
        while len(found) >= size:
            yield np.stack(found[:size])
            found = found[size:]
    if found:
        yield np.stack(found)


def _runs(plausible: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Stretches of plausible numbers, across a few that aren't: some models have dimensions that are all but zero."""
    edges = np.diff(np.concatenate([[0], plausible.view(np.int8), [0]]))
    start, end = -1, -1
    for first, last in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        if start >= 0 and first - end <= _GAP:
            end = int(last)
            continue
        if start >= 0:
            yield start, end
        start, end = int(first), int(last)
    if start >= 0:
        yield start, end


def _aligned(values: NDArray[np.float32], width: int) -> int:
    """Where the first row begins: at the start if rows fill the stretch, else where rows are most alike in norm."""
    spare = len(values) % width
    if not spare or len(values) < 2 * width:
        return 0
    count = len(values) // width
    norms = [
        np.linalg.norm(values[at : at + count * width].reshape(count, width), axis=1)
        for at in range(min(spare, 64) + 1)
    ]
    return int(np.argmin([found.std() / found.mean() for found in norms]))


def _alike(row: NDArray[np.float32]) -> bool:
    """Whether most numbers are of one size."""
    sizes = np.abs(row.astype(np.float64))
    sizes = sizes[sizes > 0]
    if len(sizes) < 0.9 * len(row):
        return False
    low, high = np.percentile(np.log2(sizes), [10, 90])
    return bool(high - low < _LARGEST_SPREAD)
