"""A SQLite file of vectors: sqlite-vec's tables, llm's embeddings.db, and any table with a column of vectors."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from unembed.errors import InputError
from unembed.sources.cells import vector_like
from unembed.sources.records import RecordBatch, SourceContents, SourceRequest
from unembed.sources.rows import Row, batches_of, choose, id_field, listed, text_field
from unembed_stores.sqlite.carving import carve, columns_of
from unembed_stores.sqlite.connection import connected, named
from unembed_stores.sqlite.vec import read_vec, vec_tables

__all__ = ["open_store"]

_CARVED = "deleted rows were found in free pages of the SQLite file"


@dataclass(frozen=True)
class _Plain:
    """A table with a column of vectors, as blobs or as text."""

    name: str
    vector: str
    id: str | None
    text: str | None
    beside: tuple[str, ...]
    llm: bool


def open_store(place: str, request: SourceRequest) -> SourceContents:
    """A .db or .sqlite file; its tables are its collections, of llm's file the collections are."""
    with connected(place) as database:
        virtual = [(t, c) for t in vec_tables(database) for c in t.vectors if request.column in (None, c[0])]
        hidden = [table.name for table in vec_tables(database)]
        plain = _plain_tables(place, database, hidden, request)
    asked = request.collection
    virtual = [(t, c) for t, c in virtual if asked in (None, t.name)]
    if asked is not None and not virtual:
        plain = [table for table in plain if table.llm or table.name == asked]
    elif asked is not None:
        plain = []
    if not virtual and not plain:
        raise InputError(_none(place, hidden, asked))

    def read(size: int) -> Iterator[RecordBatch]:
        with connected(place) as database:
            first = 0
            for table, column in virtual:
                for batch in read_vec(database, table, column, request, first):
                    yield from _cut(batch, size)
                    first = int(batch.rows[-1]) + 1
            rows = (row for table in plain for row in _rows(place, database, table, request))
            for batch in batches_of(rows, size, request):
                shifted = tuple(replace(row, row=row.row + first) for row in batch.skipped)
                carved = batch.deleted is not None and bool(batch.deleted.any())
                notes = (*batch.notes, _CARVED) if carved else batch.notes
                yield replace(batch, rows=batch.rows + first, skipped=shifted, notes=notes)

    names = dict.fromkeys([t.name for t, _ in virtual] + [table.name for table in plain])
    kind = "sqlite-vec tables" if virtual and not plain else "llm's embeddings" if _all_llm(plain) else "SQLite tables"
    return SourceContents(kind, read, collections=tuple(names))


def _all_llm(plain: Sequence[_Plain]) -> bool:
    return bool(plain) and all(table.llm for table in plain)


def _none(place: str, hidden: Sequence[str], asked: str | None) -> str:
    with connected(place) as database:
        names = [row[0] for row in database.execute("select name from sqlite_master where type = 'table'")]
    if asked is not None:
        return f"{place} has no table {asked!r} with vectors; its tables: {listed(names)}"
    return f"{place} has no table with vectors; its tables: {listed(names)}"


def _cut(batch: RecordBatch, size: int) -> Iterator[RecordBatch]:
    for at in range(0, len(batch), size):
        yield batch.selected(range(at, min(at + size, len(batch))))


def _plain_tables(
    place: str, database: sqlite3.Connection, hidden: Sequence[str], request: SourceRequest
) -> list[_Plain]:
    found = []
    query = "select name from sqlite_master where type = 'table' and sql not like 'create virtual%'"
    for (name,) in database.execute(query).fetchall():
        if name.startswith("sqlite_") or any(name.startswith(f"{table}_") for table in hidden):
            continue
        columns = [row["name"] for row in database.execute(f"pragma table_info({named(name)})")]
        sample = database.execute(f"select * from {named(name)} limit 8").fetchall()
        widths = {
            column: max(vector_like(row[column]) for row in sample)
            for column in columns
            if any(vector_like(row[column]) for row in sample)
        }
        if request.column is not None:
            widths = {request.column: widths.get(request.column, 0)} if request.column in columns else {}
        if not widths:
            continue
        llm = {"collection_id", "id", "embedding", "content"} <= set(columns)
        vector = "embedding" if llm else choose(f"{place}, table {name}", "column", widths, columns, request)
        identity = id_field(columns, vector)
        text = text_field(columns, vector)
        beside = [c for c in columns if c not in (vector, identity, text, "content_blob", "content_hash", *widths)]
        found.append(_Plain(name, vector, identity, text, tuple(beside), llm))
    return found


def _rows(place: str, database: sqlite3.Connection, table: _Plain, request: SourceRequest) -> Iterator[Row]:
    names: dict[Any, str] = {}
    if table.llm:
        names = {row[0]: row[1] for row in database.execute("select id, name from collections")}
    wanted = [table.vector, *filter(None, (table.id, table.text)), *table.beside]
    order = " order by collection_id" if table.llm else ""
    select = f"select {', '.join(map(named, dict.fromkeys(wanted)))} from {named(table.name)}"
    lengths: set[int] = set()
    for record in database.execute(select + order):
        row = _row(dict(record), table, names, request)
        if isinstance(row.cell, bytes) and len(lengths) < 4:
            lengths.add(len(row.cell))
        if request.collection in (None, table.name, row.collection):
            yield row
    if request.deleted and lengths:
        seen: set[bytes] = set()
        info = database.execute(f"pragma table_info({named(table.name)})").fetchall()
        for carved in carve(Path(place), columns_of(info), table.vector, sorted(lengths)):
            digest = blake2b(carved[table.vector], digest_size=16).digest()
            if digest not in seen and not _lives(database, table, carved):
                seen.add(digest)
                row = replace(_row(carved, table, names, request), deleted=True)
                if request.collection in (None, table.name, row.collection):
                    yield row


def _row(record: dict[str, Any], table: _Plain, names: dict[Any, str], request: SourceRequest) -> Row:
    identity = record.get(table.id) if table.id else None
    text = record.get(table.text) if table.text and request.payloads else None
    rest = {name: record.get(name) for name in table.beside} if request.payloads else None
    collection = names.get(record["collection_id"], "(deleted)") if table.llm else table.name
    return Row(
        record[table.vector],
        None if identity is None else str(identity),
        text if isinstance(text, str) and text else None,
        rest or None,
        collection,
    )


def _lives(database: sqlite3.Connection, table: _Plain, carved: dict[str, Any]) -> bool:
    """Whether the table still has this very row: SQLite leaves copies behind when it moves rows between pages."""
    where = f"{named(table.vector)} = ?"
    values = [carved[table.vector]]
    if table.id is not None and carved.get(table.id) is not None:
        where += f" and {named(table.id)} = ?"
        values.append(carved[table.id])
    query = f"select 1 from {named(table.name)} where {where} limit 1"
    return database.execute(query, values).fetchone() is not None
