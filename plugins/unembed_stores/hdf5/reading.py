"""HDF5 files: every data set of vectors, and the bytes of deleted ones that nothing owns any more."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from unembed.errors import InputError
from unembed.sources.records import RecordBatch, SourceContents, SourceRequest
from unembed.sources.rows import choose, id_field, listed, reading, text_field
from unembed_stores.hdf5.space import unowned

__all__ = ["open_store"]

_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError)
_NOTE = "deleted data sets: vectors were found in space of the file that nothing owns; their ids are gone"


@dataclass(frozen=True)
class _Part:
    """A data set of vectors and what lies beside it in its group."""

    name: str
    shape: tuple[int, ...]
    ids: str | None
    texts: str | None


def open_store(place: str, request: SourceRequest) -> SourceContents:
    """An .h5 file; `column` is a data set, by its path or its name, and groups are collections."""
    with reading(place, "HDF5 file", *_ERRORS), h5py.File(place, "r") as file:
        parts = _parts(place, file, request)

    def read(size: int) -> Iterator[RecordBatch]:
        first = 0
        with reading(place, "HDF5 file", *_ERRORS), h5py.File(place, "r") as file:
            for part in parts:
                for batch in _read(file, part, size, first):
                    yield batch
                    first += len(batch)
        if request.deleted:
            widths = {part.shape[1] for part in parts}
            for batch in _deleted(place, widths, size, first):
                yield batch
                first += len(batch)

    names = tuple(dict.fromkeys(part.name.rpartition("/")[0] for part in parts))
    return SourceContents("HDF5", read, collections=tuple(filter(None, names)))


def _parts(place: str, file: Any, request: SourceRequest) -> list[_Part]:
    sets: dict[str, Any] = {}
    file.visititems(lambda name, found: sets.__setitem__(name, found) if isinstance(found, h5py.Dataset) else None)
    tables = {name: s.shape for name, s in sets.items() if len(s.shape) == 2 and s.dtype.kind in "fiu" and s.size}
    group = request.collection
    tables = {name: shape for name, shape in tables.items() if group in (None, name.rpartition("/")[0])}
    if request.column is not None:
        chosen = [name for name in tables if request.column in (name, name.rpartition("/")[2])]
        if not chosen:
            raise InputError(f"{place} has no data set of vectors {request.column!r}; it has {listed(list(sets))}")
    else:
        chosen = []
        for parent in dict.fromkeys(name.rpartition("/")[0] for name in tables):
            widths = {name: shape[1] for name, shape in tables.items() if name.rpartition("/")[0] == parent}
            last = {name.rpartition("/")[2]: name for name in widths}
            inner = {name: widths[full] for name, full in last.items()}
            chosen.append(last[choose(f"{place}, group {parent or '/'}", "data set", inner, list(sets), request)])
    if not chosen:
        raise InputError(f"{place} has no data set of vectors; it has {listed(list(sets))}")
    return [_part(name, sets) for name in chosen]


def _part(name: str, sets: dict[str, Any]) -> _Part:
    parent, shape = name.rpartition("/")[0], sets[name].shape
    beside = {
        other.rpartition("/")[2]: other
        for other, found in sets.items()
        if other.rpartition("/")[0] == parent and found.shape == shape[:1] and other != name
    }
    ids, texts = id_field(beside, name), text_field(beside, name)
    return _Part(name, shape, beside[ids] if ids else None, beside[texts] if texts else None)


def _read(file: Any, part: _Part, size: int, first: int) -> Iterator[RecordBatch]:
    vectors = file[part.name]
    notes = (f"values are {vectors.dtype} codes, read as they stand",) if vectors.dtype.kind in "iu" else ()
    for at in range(0, part.shape[0], size):
        with np.errstate(over="ignore"):
            values = np.asarray(vectors[at : at + size], dtype=np.float32)
        rows = np.arange(first + at, first + at + len(values), dtype=np.int64)
        ids = None if part.ids is None else file[part.ids][at : at + size]
        texts = None if part.texts is None else [_text(text) for text in file[part.texts][at : at + size]]
        named = [_text(value) for value in (rows if ids is None else ids)]
        yield RecordBatch(named, values, rows, texts, None, part.name.rpartition("/")[0] or None, notes=notes)


def _text(value: Any) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def _deleted(place: str, widths: set[int], size: int, first: int) -> Iterator[RecordBatch]:
    if len(widths) != 1 or os.path.getsize(place) > 1 << 34:
        return
    for found in unowned(place, widths.pop(), size):
        rows = np.arange(first, first + len(found), dtype=np.int64)
        ids = [f"unowned {row}" for row in rows]
        yield RecordBatch(ids, found, rows, collection="(deleted)", deleted=np.ones(len(found), bool), notes=(_NOTE,))
        first += len(found)
