"""PostgreSQL with pgvector: every table with a column of vectors, through a read-only transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from unembed.errors import InputError
from unembed.sources.places import shown
from unembed.sources.records import RecordBatch, SourceContents, SourceRequest
from unembed.sources.rows import Row, batches_of, choose, id_field, listed, text_field

__all__ = ["open_store"]

_TYPES = ("vector", "halfvec", "sparsevec", "_float4", "_float8")
_COLUMNS = """
select n.nspname, c.relname, a.attname, t.typname, a.atttypmod, t.typsend::regproc::text
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
join pg_type t on t.oid = a.atttypid
where c.relkind in ('r', 'p', 'm', 'f', 'v') and a.attnum > 0 and not a.attisdropped
and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg_toast%'
order by 1, 2, a.attnum
"""
_NOTE = "rows that were deleted but not vacuumed away stay in the server's files, which SQL doesn't show"
_HALF = "values are half floats"


@dataclass(frozen=True)
class _Table:
    """A table with vectors: how its name is written, and what its columns are."""

    schema: str
    name: str
    vector: str
    type: str
    send: str
    id: str | None
    text: str | None
    beside: tuple[str, ...]

    @property
    def shown(self) -> str:
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


def open_store(place: str, request: SourceRequest) -> SourceContents:
    """A database by its URL, `postgresql://user@host/database`; tables are collections."""
    with _connected(place) as connection:
        tables = _tables(shown(place), connection.execute(_COLUMNS).fetchall(), request)
        count = sum(_count(connection, table) for table in tables)

    def rows() -> Iterator[Row]:
        with _connected(place) as connection:
            for table in tables:
                yield from _rows(connection, table, request)

    def read(size: int) -> Iterator[RecordBatch]:
        return batches_of(rows(), size, request)

    notes = [_NOTE] if request.deleted else []
    if any(table.type == "halfvec" for table in tables):
        notes.append(_HALF)
    names = tuple(table.shown for table in tables)
    return SourceContents("PostgreSQL", read, count, names, tuple(notes))


@contextmanager
def _connected(place: str) -> Iterator[Any]:
    try:
        with psycopg.connect(place, connect_timeout=20, options="-c default_transaction_read_only=on") as connection:
            yield connection
    except psycopg.Error as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{shown(place)} can't be read: {said}") from error


def _tables(place: str, columns: list[Any], request: SourceRequest) -> list[_Table]:
    grouped: dict[tuple[str, str], dict[str, Any]] = {}
    for schema, table, name, kind, modifier, send in columns:
        grouped.setdefault((schema, table), {})[name] = (kind, max(modifier, 0), send)
    found = []
    for (schema, table), parts in grouped.items():
        names = [table, f"{schema}.{table}"]
        widths = {name: width for name, (kind, width, _) in parts.items() if kind in _TYPES}
        if not widths or (request.collection is not None and request.collection not in names):
            continue
        if request.column is not None and request.column not in widths:
            continue
        if request.column is None and any(parts[name][0] in ("vector", "halfvec") for name in widths):
            widths = {name: width for name, width in widths.items() if not parts[name][0].startswith("_")}
        vector = request.column or choose(f"{place}, table {table}", "column", widths, list(parts), request)
        beside = [name for name in parts if name not in widths]
        identity, text = id_field(beside, vector), text_field(beside, vector)
        rest = tuple(name for name in beside if name not in (identity, text))
        kind, _, send = parts[vector]
        found.append(_Table(schema, table, vector, kind, send, identity, text, rest))
    if not found:
        asked = [part for part in (request.collection, request.column) if part is not None]
        wanted = f"no table with vectors called {' and '.join(map(repr, asked))}" if asked else "no table with vectors"
        raise InputError(f"{place} has {wanted}; its tables: {listed(sorted({name for _, name in grouped}))}")
    return found


def _count(connection: Any, table: _Table) -> int:
    query = sql.SQL("select count(*) from {}").format(sql.Identifier(table.schema, table.name))
    return int(connection.execute(query).fetchone()[0])


def _rows(connection: Any, table: _Table, request: SourceRequest) -> Iterator[Row]:
    send = table.send.rpartition(".")[2]
    vector: sql.Composable = sql.Identifier(table.vector)
    if send in ("vector_send", "halfvec_send"):
        vector = sql.SQL("{}({})").format(sql.SQL(table.send), vector)
    elif not table.type.startswith("_"):
        vector = sql.SQL("{}::text").format(vector)
    beside = [name for name in (table.id, table.text, *table.beside) if name is not None] if request.payloads else []
    beside = beside or [name for name in (table.id,) if name is not None]
    columns = sql.SQL(", ").join([vector, *map(sql.Identifier, beside)])
    query = sql.SQL("select {} from {}").format(columns, sql.Identifier(table.schema, table.name))
    with connection.cursor(name="unembed", binary=False) as cursor:
        cursor.itersize = 1000
        cursor.execute(query)
        for cell, *values in cursor:
            record = {name: _plain(value) for name, value in zip(beside, values, strict=True)}
            identity = record.pop(table.id, None) if table.id is not None else None
            text = record.pop(table.text, None) if table.text is not None else None
            yield Row(
                _decoded(cell) if send in ("vector_send", "halfvec_send") and cell is not None else cell,
                None if identity is None else str(identity),
                text if isinstance(text, str) and text else None,
                record or None,
                table.shown,
            )


def _decoded(raw: bytes) -> NDArray[Any]:
    """pgvector's binary form: width and an unused number as int16, then big-endian float32, or float16 of halfvec."""
    width = int.from_bytes(raw[:2], "big")
    return np.frombuffer(raw, ">f4" if len(raw) == 4 + 4 * width else ">f2", width, 4)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float | list | dict) else str(value)
