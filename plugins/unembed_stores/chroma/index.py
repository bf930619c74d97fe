"""A collection's index files (hnswlib's, as Chroma keeps them): vectors by label, deleted ones among them."""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unembed.errors import InputError
from unembed_stores.pickles import Shell, walk

__all__ = ["Element", "Index", "open_index"]

_HEADER = struct.Struct("<iQQQQQQ")
_DELETED = 1


@dataclass(frozen=True)
class Element:
    """Some elements of an index: vectors `[N, D]`, labels, and which are marked as deleted."""

    vectors: NDArray[np.float32]
    labels: NDArray[np.uint64]
    marked: NDArray[np.bool_]


@dataclass(frozen=True)
class Index:
    """An index's layout, and the ids of its labels."""

    folder: Path
    count: int
    size: int
    label_at: int
    vector_at: int
    ids: dict[int, str]

    @property
    def width(self) -> int:
        """How wide its vectors are."""
        return (self.label_at - self.vector_at) // 4

    def elements(self, size: int, *, norms: bool) -> Iterator[Element]:
        """Its elements, a batch at a time; with `norms` each vector is multiplied by its stored norm."""
        kept = _Layout(self)
        lengths = np.memmap(self.folder / "length.bin", "<f4", "r") if norms else None
        for first in range(0, self.count, size):
            part = kept.rows[first : first + size]
            vectors = np.array(part["vector"], dtype=np.float32)
            if lengths is not None:
                vectors *= lengths[first : first + len(part), None]
            yield Element(vectors, np.array(part["label"]), (part["flags"] & _DELETED).astype(bool))


class _Layout:
    """The element file, mapped as rows."""

    def __init__(self, index: Index) -> None:
        row = np.dtype(
            {
                "names": ["flags", "vector", "label"],
                "formats": ["u1", ("<f4", (index.width,)), "<u8"],
                "offsets": [2, index.vector_at, index.label_at],
                "itemsize": index.size,
            }
        )
        self.rows = np.memmap(index.folder / "data_level0.bin", row, "r", shape=(index.count,))


def open_index(folder: Path) -> Index | None:
    """The index of a segment's folder, or None where it has no vectors yet; raises InputError for damaged files."""
    header, data = folder / "header.bin", folder / "data_level0.bin"
    if not header.is_file() or not data.is_file():
        return None
    raw = header.read_bytes()
    if len(raw) < _HEADER.size:
        raise InputError(f"{header} is cut: {len(raw)} bytes")
    _, _, _, count, size, label_at, vector_at = _HEADER.unpack_from(raw)
    fits = 0 < vector_at < label_at <= size - 8 and (label_at - vector_at) % 4 == 0 and size < 1 << 24
    if not fits or count * size > os.path.getsize(data):
        raise InputError(f"{header} doesn't fit {data.name}: {count} elements of {size} bytes; it is damaged")
    ids = _ids(folder / "index_metadata.pickle")
    return Index(folder, count, size, label_at, vector_at, ids) if count and ids is not None else None


def _ids(path: Path) -> dict[int, str] | None:
    """Ids by label, from a pickle of plain data (1.x) or of one object (0.4); None where it was never synced."""
    if not path.is_file():
        return None
    found: Any = walk(path.read_bytes(), str(path))
    state = found.attributes() if isinstance(found, Shell) else found
    labels = state.get("id_to_label") if isinstance(state, dict) else None
    if not isinstance(labels, dict):
        raise InputError(f"{path} names no labels; it isn't Chroma's, or is damaged")
    return {int(label): str(name) for name, label in labels.items()}
