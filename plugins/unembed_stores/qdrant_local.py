"""Qdrant's local mode: a SQLite file a collection, whose rows are pickles. They are walked, never loaded."""

import base64
import binascii
import json
import sqlite3
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from unembed.errors import InputError
from unembed.sources.records import RecordBatch, SourceContents, SourceRequest
from unembed.sources.rows import Row, batches_of, listed, text_field
from unembed_stores.pickles import Shell, walk
from unembed_stores.sqlite.carving import Column, carve
from unembed_stores.sqlite.connection import connected

__all__ = ["open_store"]

_NOTE = "rows are pickles: read opcode by opcode, never loaded"
_CARVED = "deleted points were found in free pages of the SQLite file"


def open_store(place: str, request: SourceRequest) -> SourceContents:
    """A folder of `QdrantClient(path=…)`; of points with several vectors `column` names one."""
    folder = Path(place)
    present = sorted(path.name for path in (folder / "collection").iterdir() if (path / "storage.sqlite").is_file())
    if request.collection is not None and request.collection not in present:
        raise InputError(f"{place} has no collection {request.collection!r}; it has {listed(present)}")
    names = present if request.collection is None else [request.collection]
    notes = [_NOTE]
    if any(_distance(folder, name) == "Cosine" for name in names):
        notes.append("the files keep vectors as given, where Qdrant's client would return them normalised")

    def rows() -> Iterator[Row]:
        for name in names:
            file = folder / "collection" / name / "storage.sqlite"
            with connected(file) as database:
                yield from _points(file, database, name, request)

    def read(size: int) -> Iterator[RecordBatch]:
        return batches_of(rows(), size, request)

    return SourceContents("Qdrant, local mode", read, collections=tuple(names), notes=tuple(notes))


def _distance(folder: Path, name: str) -> str | None:
    try:
        meta = json.loads((folder / "meta.json").read_bytes())
        vectors = meta["collections"][name]["vectors"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'meta.json'} can't be read as Qdrant's: {error}") from error
    kinds = [vectors, *(value for value in vectors.values() if isinstance(value, dict))]
    return next((kind["distance"] for kind in kinds if isinstance(kind, dict) and "distance" in kind), None)


def _points(file: Path, database: sqlite3.Connection, name: str, request: SourceRequest) -> Iterator[Row]:
    for key, point in database.execute("select id, point from points"):
        yield _row(file, key, point, name, request)
    if not request.deleted:
        return
    seen: set[bytes] = set()
    columns = [Column("id", "t"), Column("point", "b")]
    for carved in carve(file, columns, "point"):
        key, point = carved["id"], carved["point"]
        if not isinstance(point, bytes) or not point.startswith(b"\x80") or not point.endswith(b"."):
            continue
        digest = blake2b(point, digest_size=16).digest()
        known = database.execute("select 1 from points where id = ? and point = ?", (key, point)).fetchone()
        if known is None and digest not in seen:
            seen.add(digest)
            row = _row(file, key, point, name, request, deleted=True)
            if row.trouble is None:
                yield row


def _row(file: Path, key: Any, point: Any, name: str, request: SourceRequest, *, deleted: bool = False) -> Row:
    identity = _identity(key)
    try:
        found = walk(point, "its pickle") if isinstance(point, bytes) else None
    except InputError as error:
        return Row(None, identity, collection=name, deleted=deleted, trouble=str(error))
    attributes = found.attributes() if isinstance(found, Shell) else {}
    vector, part = _vector(attributes.get("vector"), request)
    payload = attributes.get("payload") if request.payloads else None
    payload = dict(payload) if isinstance(payload, dict) else {}
    text = text_field([key for key, value in payload.items() if isinstance(value, str)], "")
    said = payload.pop(text) if text else None
    collection = name if part is None else f"{name}/{part}"
    return Row(vector, identity, said, payload or None, collection, deleted)


def _vector(found: Any, request: SourceRequest) -> tuple[Any, str | None]:
    """A point's vector, or of several the one asked for, else its first dense one."""
    if not isinstance(found, Mapping):
        return found, None
    if request.column is not None:
        return found.get(request.column), request.column
    dense = {name: value for name, value in found.items() if isinstance(value, list)}
    fitting = [name for name, value in dense.items() if len(value) == request.width] or list(dense)
    return (dense[fitting[0]], fitting[0]) if fitting else (None, None)


def _identity(key: Any) -> str:
    """A point's id: a number or a UUID, itself a pickle in base64."""
    try:
        return str(walk(base64.b64decode(str(key), validate=True)))
    except (InputError, binascii.Error, ValueError):
        return str(key)
