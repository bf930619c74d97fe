"""DuckDB files: every table with a column of vectors."""

from collections.abc import Iterator, Sequence
from typing import Any

import duckdb

from unembed.errors import InputError
from unembed.sources.files.arrow import Table, from_tables
from unembed.sources.records import SourceContents, SourceRequest
from unembed.sources.rows import listed, reading
from unembed_stores.sqlite.connection import named

__all__ = ["open_store"]

_NOTE = "DuckDB compresses vectors: those of deleted rows may be in the file but can't be read"


def open_store(place: str, request: SourceRequest) -> SourceContents:
    """A .duckdb file, opened read-only; its tables are its collections."""
    with reading(place, "DuckDB file", duckdb.Error), _connected(place) as database:
        query = "select schema_name, table_name from duckdb_tables() where not internal order by 1, 2"
        present = [(s, t) for s, t in database.execute(query).fetchall()]
        names = [table if schema == "main" else f"{schema}.{table}" for schema, table in present]
        if request.collection is not None and request.collection not in names:
            raise InputError(f"{place} has no table {request.collection!r}; it has {listed(names)}")
        tables = [
            _table(place, f"{named(schema)}.{named(table)}", name, database)
            for (schema, table), name in zip(present, names, strict=True)
            if request.collection in (None, name)
        ]
        found, first_error = [], None
        for table in tables:
            try:
                found.append((table, from_tables([table], request)))
            except InputError as error:
                first_error = first_error or error
    if not found:
        raise first_error or InputError(f"{place} has no tables")
    contents = from_tables([table for table, _ in found], request)
    return SourceContents(
        "DuckDB",
        contents.read,
        contents.count,
        contents.collections,
        (*contents.notes, _NOTE) if request.deleted else (),
    )


def _connected(place: str) -> duckdb.DuckDBPyConnection:
    """A read-only connection that keeps little of the file in memory."""
    return duckdb.connect(place, read_only=True, config={"memory_limit": "256MB"})


def _table(place: str, quoted: str, name: str, database: Any) -> Table:
    schema = database.sql(f"select * from {quoted} limit 0").to_arrow_table().schema
    count = database.execute(f"select count(*) from {quoted}").fetchall()[0][0]

    def batches(columns: Sequence[str], size: int) -> Iterator[Any]:
        tops = list(dict.fromkeys(column if column in schema.names else column.partition(".")[0] for column in columns))
        with _connected(place) as own:
            yield from own.sql(f"select {', '.join(map(named, tops))} from {quoted}").to_arrow_reader(size)

    return Table(place, "DuckDB file", schema, batches, count, name)
