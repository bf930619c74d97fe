"""sqlite-vec's tables, read from their chunks without the extension; slots that were cleared are deleted records."""

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unembed.sources.records import RecordBatch, SourceRequest
from unembed.sources.rows import text_field
from unembed_stores.sqlite.connection import named

__all__ = ["VecTable", "read_vec", "vec_tables"]

_TYPES = {"float": "<f4", "f32": "<f4", "int8": "i1", "i8": "i1", "bit": "u1", "binary": "u1"}
_COLUMN = re.compile(r"^\s*([\w\"\[\]`]+)\s+(float|f32|int8|i8|bit|binary)\s*\[\s*(\d+)\s*\]", re.IGNORECASE)


@dataclass(frozen=True)
class VecTable:
    """A vec0 table: its name, and each vector column's place, type and width; `auxiliary` are its +columns."""

    name: str
    vectors: tuple[tuple[str, int, str, int], ...]
    auxiliary: tuple[str, ...]
    key: str | None


def vec_tables(database: sqlite3.Connection) -> list[VecTable]:
    """The vec0 tables of a file."""
    query = "select name, sql from sqlite_master where type = 'table' and sql like '%using%vec0%'"
    return [_declared(row["name"], row["sql"]) for row in database.execute(query)]


def _declared(name: str, sql: str) -> VecTable:
    vectors: list[tuple[str, int, str, int]] = []
    auxiliary: list[str] = []
    key = None
    for part in sql[sql.index("(") + 1 : sql.rindex(")")].split(","):
        found = _COLUMN.match(part)
        if found:
            column, kind, width = found[1].strip('"[]`'), found[2].lower(), int(found[3])
            vectors.append((column, len(vectors), _TYPES[kind], width // 8 if kind in ("bit", "binary") else width))
        elif part.strip().startswith("+"):
            auxiliary.append(part.strip()[1:].split()[0].strip('"[]`'))
        elif re.search(r"\bprimary\s+key\b", part, re.IGNORECASE):
            key = part.split()[0].strip('"[]`')
    return VecTable(name, tuple(vectors), tuple(auxiliary), key)


def read_vec(
    database: sqlite3.Connection, table: VecTable, column: tuple[str, int, str, int], request: SourceRequest, first: int
) -> Iterator[RecordBatch]:
    """A table's records, chunk by chunk: the valid slots, then the cleared ones that aren't zero."""
    _, place, code, width = column
    chunks = named(f"{table.name}_chunks")
    vectors = named(f"{table.name}_vector_chunks{place:02d}")
    query = (
        f"select c.size, c.validity, c.rowids, v.vectors from {chunks} c join {vectors} v on v.rowid = c.chunk_id "
        f"order by c.chunk_id"
    )
    notes = () if code == "<f4" else (f"values are {np.dtype(code)} codes, read as they stand",)
    for size, validity, rowids, blob in database.execute(query):
        valid = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")[:size].astype(bool)
        numbers = np.frombuffer(rowids, "<i8")[:size]
        found = np.frombuffer(blob, code)[: size * width].reshape(-1, width)
        cleared = ~valid & found.any(axis=1) if request.deleted else np.zeros(len(valid), bool)
        slots = np.flatnonzero(valid | cleared)
        if not len(slots):
            continue
        rows = np.arange(first, first + len(slots), dtype=np.int64)
        yield RecordBatch(
            ids=_ids(database, table, numbers[slots], slots),
            vectors=found[slots].astype(np.float32),
            rows=rows,
            **_beside(database, table, numbers[slots], request),
            collection=table.name,
            deleted=cleared[slots],
            notes=notes,
        )
        first += len(slots)


def _ids(
    database: sqlite3.Connection, table: VecTable, numbers: NDArray[np.int64], slots: NDArray[np.intp]
) -> list[str]:
    """Text keys where the table has them, else the row numbers; a cleared slot may have lost its number."""
    names: dict[int, Any] = {}
    if table.key is not None:
        names = _looked_up(database, f"{table.name}_rowids", "id", numbers)
    return [
        str(names.get(int(number)) or (int(number) if number else f"slot {slot}"))
        for number, slot in zip(numbers, slots, strict=True)
    ]


def _beside(
    database: sqlite3.Connection, table: VecTable, numbers: NDArray[np.int64], request: SourceRequest
) -> dict[str, Any]:
    if not table.auxiliary or not request.payloads:
        return {}
    columns = {
        name: _looked_up(database, f"{table.name}_auxiliary", f"value{place:02d}", numbers)
        for place, name in enumerate(table.auxiliary)
    }
    text = text_field(table.auxiliary, "")
    texts = columns.pop(text) if text else {}
    payloads = [{name: values.get(int(number)) for name, values in columns.items()} for number in numbers]
    return {
        "texts": [texts.get(int(number)) for number in numbers] if text else None,
        "payloads": payloads if columns else None,
    }


def _looked_up(database: sqlite3.Connection, table: str, column: str, numbers: NDArray[np.int64]) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for at in range(0, len(numbers), 500):
        part = [int(number) for number in numbers[at : at + 500]]
        marks = ", ".join("?" * len(part))
        query = f"select rowid, {named(column)} from {named(table)} where rowid in ({marks})"
        found.update({row[0]: row[1] for row in database.execute(query, part)})
    return found
