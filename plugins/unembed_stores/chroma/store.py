"""A Chroma folder: which vectors live, and which were deleted and are still there.

A collection's records are those of its metadata segment. A record's vector is the last one written: in the queue
(table `embeddings_queue`) if it isn't purged, else in the index files. All other vectors there belong to deleted
records, or are versions that were replaced. More of both lie in free pages of the SQLite file, and in folders of
collections that were deleted.
"""

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unembed.errors import InputError
from unembed.sources.records import RecordBatch, SourceContents, SourceRequest
from unembed.sources.rows import Row, batches_of, listed
from unembed_stores.chroma.index import Index, open_index
from unembed_stores.sqlite.carving import carve, columns_of
from unembed_stores.sqlite.connection import connected

__all__ = ["open_store"]

FILE = "chroma.sqlite3"
TEXT = "chroma:document"
_COSINE = "a cosine collection's index keeps vectors normalised and their norms beside: equal to 1e-6, not bit for bit"
_UNNAMED = "ids of some deleted records are gone: they are named by their label in the index"
_BATCH = 500
# An update or upsert replaces a vector; a second add without a deletion between is ignored, as Chroma does.
_LAST = """
with gone as (
  select id, max(case when operation = 3 then seq_id else 0 end) as at from embeddings_queue
  where topic like :topic group by id
), last as (
  select q.id as id, coalesce(
    max(case when q.operation in (1, 2) then q.seq_id end), min(case when q.operation = 0 then q.seq_id end)
  ) as last
  from embeddings_queue q join gone on gone.id = q.id
  where q.topic like :topic and q.vector is not null and q.seq_id > gone.at group by q.id
)
"""


@dataclass
class _Collection:
    """A collection that is there, or one whose folder was left behind."""

    id: str
    name: str
    metadata: str | None
    folder: Path | None
    cosine: bool
    seen: set[bytes] = field(default_factory=set)


def open_store(place: str, request: SourceRequest) -> SourceContents:
    """A folder of `chromadb.PersistentClient(path=…)`, or its `chroma.sqlite3`."""
    folder = Path(place) if os.path.isdir(place) else Path(place).parent
    with connected(folder / FILE) as database:
        collections = _collections(folder, database)
        versions = _notes(collections)
    names = [collection.name for collection in collections]
    if request.collection is not None and request.collection not in names:
        raise InputError(f"{place} has no collection {request.collection!r}; it has {listed(names)}")
    chosen = [c for c in collections if request.collection in (None, c.name)]

    def rows(size: int) -> Iterator[Row]:
        with connected(folder / FILE) as database, _scratch() as scratch:
            for collection in chosen:
                collection.seen.clear()
                yield from _Reader(folder, database, scratch, collection, request, size).rows()
            if request.collection is None and request.deleted:
                yield from _orphans(folder, chosen, size)

    def read(size: int) -> Iterator[RecordBatch]:
        return batches_of(rows(size), size, request)

    return SourceContents("Chroma", read, collections=tuple(names), notes=tuple(versions))


@contextmanager
def _scratch() -> Iterator[sqlite3.Connection]:
    """A temporary database on disk, so that a million ids need no memory."""
    with closing(sqlite3.connect("")) as database:
        database.execute("create table live (id text primary key) without rowid")
        yield database


def _collections(folder: Path, database: sqlite3.Connection) -> list[_Collection]:
    found = []
    columns = {row["name"] for row in database.execute("pragma table_info(collections)")}
    if not columns:
        raise InputError(f"{folder / FILE} has no table of collections; it isn't Chroma's, or is older than 0.4")
    for row in database.execute("select * from collections order by name"):
        segments = {
            scope: segment
            for segment, scope in database.execute("select id, scope from segments where collection = ?", (row["id"],))
        }
        vector = segments.get("VECTOR")
        found.append(
            _Collection(
                row["id"],
                row["name"],
                segments.get("METADATA"),
                folder / vector if vector else None,
                _is_cosine(
                    database, row["id"], [row[key] for key in ("config_json_str", "schema_str") if key in columns]
                ),
            )
        )
    return found


def _is_cosine(database: sqlite3.Connection, collection: str, configs: Sequence[str | None]) -> bool:
    for row in database.execute(
        "select str_value from collection_metadata where collection_id = ? and key = 'hnsw:space'", (collection,)
    ):
        return bool(row[0] == "cosine")
    for config in configs:
        found = _space(config)
        if found is not None:
            return found == "cosine"
    return False


def _space(config: str | None) -> str | None:
    """The space of the vector index in a collection's configuration, whichever of its shapes it has."""
    try:
        parsed = json.loads(config or "{}")
        keyed = parsed.get("keys", {}).get("#embedding", {}).get("float_list", {}).get("vector_index", {})
        old = parsed.get("hnsw_configuration", {})
        new, short = keyed.get("config") or {}, parsed.get("hnsw") or {}
        space: str | None = new.get("space") or short.get("space") or old.get("space")
        return space
    except (ValueError, AttributeError):
        return None


def _notes(collections: Sequence[_Collection]) -> list[str]:
    cosine = [c.name for c in collections if c.cosine and c.folder and (c.folder / "data_level0.bin").is_file()]
    return [f"{_COSINE} ({listed(cosine)})"] if cosine else []


class _Reader:
    """Reads one collection."""

    def __init__(
        self,
        folder: Path,
        database: sqlite3.Connection,
        scratch: sqlite3.Connection,
        collection: _Collection,
        request: SourceRequest,
        size: int,
    ) -> None:
        self.file = folder / FILE
        self.database, self.scratch, self.collection = database, scratch, collection
        self.request, self.size = request, size
        self.index = open_index(collection.folder) if collection.folder is not None else None

    def rows(self) -> Iterator[Row]:
        """Live records first, then deleted ones: of the queue, of free pages, of the index."""
        self.scratch.execute("delete from live")
        for part in _parts(self._queued(), self.size):
            yield from self._named(part, note=True)
        for part in _parts(self._indexed(), self.size):
            yield from self._named(part)
        if self.request.deleted:
            yield from chain(self._replaced(), self._carved(), self._unmapped())

    def _named(self, found: list[tuple[str, Any]], *, note: bool = False) -> Iterator[Row]:
        """Live rows of ids and vectors, with their texts; ids without a record are left for later."""
        beside = self._beside([name for name, _ in found])
        for name, vector in found:
            if name in beside:
                text, payload = beside[name]
                if note:
                    self.scratch.execute("insert or ignore into live values (?)", (name,))
                yield Row(vector, name, text, payload, self.collection.name)

    def _beside(self, names: list[str]) -> dict[str, tuple[str | None, dict[str, Any] | None]]:
        """Text and metadata of those ids that the metadata segment knows."""
        found: dict[str, tuple[str | None, dict[str, Any]]] = {}
        for at in range(0, len(names), _BATCH):
            part = names[at : at + _BATCH]
            query = (
                "select e.embedding_id, m.key, m.string_value, m.int_value, m.float_value from embeddings e left join "
                "embedding_metadata m on m.id = e.id where e.segment_id = ? and e.embedding_id in "
                f"({', '.join('?' * len(part))})"
            )
            for name, key, string, integer, real in self.database.execute(query, (self.collection.metadata, *part)):
                text, payload = found.get(name, (None, {}))
                if key == TEXT:
                    text = string
                elif key is not None:
                    payload[key] = next((value for value in (string, integer, real) if value is not None), None)
                found[name] = (text, payload)
        return {name: (text, payload or None) for name, (text, payload) in found.items()}

    def _queued(self) -> Iterator[tuple[str, Any]]:
        """The vector of each id that the queue ends with."""
        query = f"{_LAST} select q.id, q.vector, q.encoding from embeddings_queue q join last on q.seq_id = last"
        for name, vector, encoding in self.database.execute(query, {"topic": f"%{self.collection.id}"}):
            yield name, _numbers(vector, encoding)

    def _indexed(self) -> Iterator[tuple[str, Any]]:
        """Vectors of the index that have an id and weren't given from the queue."""
        if self.index is None:
            return
        for element in self.index.elements(self.size, norms=self.collection.cosine):
            for vector, label, marked in zip(element.vectors, element.labels, element.marked, strict=True):
                name = self.index.ids.get(int(label))
                if name is not None and not marked and not self._given(name):
                    yield name, vector

    def _given(self, name: str) -> bool:
        return self.scratch.execute("select 1 from live where id = ?", (name,)).fetchone() is not None

    def _replaced(self) -> Iterator[Row]:
        """Vectors in the queue of ids that are gone, and versions that others replaced."""
        query = (
            f"{_LAST} select q.id, q.vector, q.encoding, q.metadata from embeddings_queue q "
            "left join last l on l.id = q.id where q.topic like :topic and q.vector is not null "
            "and (l.last is null or l.last != q.seq_id or not exists "
            "(select 1 from embeddings e where e.segment_id = :segment and e.embedding_id = q.id)) order by q.seq_id"
        )
        values = {"topic": f"%{self.collection.id}", "segment": self.collection.metadata}
        for name, vector, encoding, metadata in self.database.execute(query, values):
            yield from self._deleted(name, _numbers(vector, encoding), metadata)

    def _carved(self) -> Iterator[Row]:
        """Rows that were purged from the queue, as far as free pages still hold them."""
        width = self.index.width if self.index is not None else self._width()
        if not width:
            return
        info = self.database.execute("pragma table_info(embeddings_queue)").fetchall()
        for row in carve(self.file, columns_of(info), "vector", [width * 4]):
            topic = str(row["topic"])
            if topic.endswith(self.collection.id) and not self._lives(str(row["id"])):
                yield from self._deleted(str(row["id"]), _numbers(row["vector"], row["encoding"]), row["metadata"])

    def _width(self) -> int:
        query = "select length(vector) from embeddings_queue where vector is not null and topic like ? limit 1"
        found = self.database.execute(query, (f"%{self.collection.id}",)).fetchone()
        return found[0] // 4 if found else 0

    def _lives(self, name: str) -> bool:
        """Whether the collection has a record of that id."""
        query = "select 1 from embeddings where segment_id = ? and embedding_id = ?"
        return self.database.execute(query, (self.collection.metadata, name)).fetchone() is not None

    def _unmapped(self) -> Iterator[Row]:
        """Vectors of the index that are marked as deleted, or whose label has no id or no record any more."""
        if self.index is None:
            return
        for element in self.index.elements(self.size, norms=self.collection.cosine):
            for vector, label, marked in zip(element.vectors, element.labels, element.marked, strict=True):
                name = self.index.ids.get(int(label))
                if marked or name is None or not self._lives(name):
                    yield from self._deleted(name or f"label {label}", vector, None)

    def _deleted(self, name: str, vector: NDArray[Any], metadata: str | None) -> Iterator[Row]:
        """A deleted record, once for each vector."""
        kept = np.round(vector / (np.linalg.norm(vector) or 1.0), 4) if self.collection.cosine else vector
        digest = blake2b(kept.tobytes(), digest_size=16).digest()
        if digest in self.collection.seen or not vector.any():
            return
        self.collection.seen.add(digest)
        payload = _parsed(metadata)
        text = payload.pop(TEXT, None)
        yield Row(vector, name, text, payload or None, self.collection.name, deleted=True)


def _numbers(raw: bytes, encoding: str | None) -> NDArray[Any]:
    return np.frombuffer(raw, "<i4" if encoding == "INT32" else "<f4")


def _parsed(metadata: str | None) -> dict[str, Any]:
    try:
        found = json.loads(metadata) if metadata else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _parts(found: Iterator[tuple[str, Any]], size: int) -> Iterator[list[tuple[str, Any]]]:
    part: list[tuple[str, Any]] = []
    for one in found:
        part.append(one)
        if len(part) >= size:
            yield part
            part = []
    if part:
        yield part


def _orphans(folder: Path, known: Sequence[_Collection], size: int) -> Iterator[Row]:
    """Vectors of folders that no segment names: collections that were deleted."""
    named = {collection.folder for collection in known}
    for path in sorted(path for path in folder.iterdir() if path.is_dir() and path not in named):
        index: Index | None = open_index(path)
        if index is None:
            continue
        for element in index.elements(size, norms=False):
            for vector, label in zip(element.vectors, element.labels, strict=True):
                name = index.ids.get(int(label), f"label {label}")
                yield Row(vector, name, collection=f"(deleted {path.name})", deleted=True)
