"""Parquet, Arrow, Feather and folders of them, read through Arrow's buffers."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unembed.errors import InputError
from unembed.sources.files.arrow_columns import Layout, batches_from, layout_of
from unembed.sources.records import RecordBatch, SourceContents, SourceRequest
from unembed.sources.rows import listed, reading

__all__ = ["Table", "from_tables", "is_arrow_folder", "open_arrow", "open_folder", "open_parquet"]

_ENDINGS = (".parquet", ".arrow", ".feather", ".pq")


@dataclass(frozen=True)
class Table:
    """A table in pieces: its schema, and `batches(columns, size)`, which reads some of its columns."""

    place: str
    kind: str
    schema: Any
    batches: Callable[[Sequence[str], int], Iterator[Any]]
    count: int | None = None
    collection: str | None = None


def open_parquet(place: str, request: SourceRequest) -> SourceContents:
    """A .parquet file."""
    return from_tables([_parquet(place)], request)


def open_arrow(place: str, request: SourceRequest) -> SourceContents:
    """An Arrow IPC file or stream, or a Feather file."""
    return from_tables([_ipc(place)], request)


def is_arrow_folder(place: str) -> bool:
    """Whether a folder is a Hugging Face data set, or holds Parquet or Arrow files."""
    return bool(_files(Path(place)))


def open_folder(place: str, request: SourceRequest) -> SourceContents:
    """A folder of Parquet or Arrow files, such as a data set that was saved; subfolders are its collections."""
    files = _files(Path(place))
    tables = [
        replace(_parquet(str(path)) if path.suffix in (".parquet", ".pq") else _ipc(str(path)), collection=name)
        for path, name in files
        if request.collection in (None, name)
    ]
    if not tables:
        raise InputError(
            f"{place} has no part {request.collection!r}; it has {listed(sorted({n or '' for _, n in files}))}"
        )
    return replace(from_tables(tables, request), kind=f"a folder of {len(tables)} Arrow or Parquet files")


def _files(folder: Path) -> list[tuple[Path, str | None]]:
    """The files of a folder and its subfolders, those of a data set in its own order, with the subfolder's name."""
    found: list[tuple[Path, str | None]] = []
    for part in [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]:
        name = None if part == folder else part.name
        state = part / "state.json"
        if state.is_file():
            try:
                listed_files = [part / entry["filename"] for entry in json.loads(state.read_bytes())["_data_files"]]
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{state} isn't the state of a data set: {error}") from error
        else:
            deep = part != folder
            listed_files = sorted(p for p in (part.rglob("*") if deep else part.glob("*")) if p.suffix in _ENDINGS)
        found += [(path, name) for path in listed_files]
    return found


def from_tables(tables: Sequence[Table], request: SourceRequest) -> SourceContents:
    """A source of tables that follow each other, each read by its own layout."""
    layouts = [_layout(table, request) for table in tables]

    def read(size: int) -> Iterator[RecordBatch]:
        first = 0
        for table, layout in zip(tables, layouts, strict=True):
            with reading(table.place, table.kind, *_errors()):
                for batch in batches_from(table.batches(layout.columns, size), layout, table, request, first, size):
                    yield batch
                    taken = [row.row for row in batch.skipped]
                    first = max([first - 1, *batch.rows.tolist()[-1:], *taken]) + 1

    counts = [table.count for table in tables if table.count is not None]
    names = tuple(dict.fromkeys(table.collection for table in tables if table.collection is not None))
    notes = tuple(dict.fromkeys(layout.note for layout in layouts if layout.note))
    vectors = tuple(dict.fromkeys(layout.vector[0] for layout in layouts if len(layout.vector) == 1))
    column = vectors[0] if len(vectors) == 1 else None
    return SourceContents(
        f"a {tables[0].kind}", read, sum(counts) if len(counts) == len(tables) else None, names, notes, column
    )


def _layout(table: Table, request: SourceRequest) -> Layout:
    names = table.schema.names
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1] if len(set(names)) < len(names) else []
    if twice:
        raise InputError(f"{table.place} has several columns called {listed(twice)}; rename all but one")

    def sample(columns: Sequence[str]) -> Any:
        return next(table.batches(columns, 8), None)

    with reading(table.place, table.kind, *_errors()):
        return layout_of(table.place, table.schema, sample, request)


def _errors() -> tuple[type[BaseException], ...]:
    import pyarrow as pa

    return (pa.ArrowException, OSError, ValueError, KeyError, TypeError, MemoryError)


def _parquet(place: str) -> Table:
    import pyarrow.parquet as pq

    def opened() -> Any:
        return pq.ParquetFile(place, memory_map=True, pre_buffer=False, buffer_size=1 << 20)

    with reading(place, "parquet file", *_errors()):
        file = opened()
        schema, count = file.schema_arrow, file.metadata.num_rows

    def batches(columns: Sequence[str], size: int) -> Iterator[Any]:
        yield from opened().iter_batches(batch_size=size, columns=list(columns), use_threads=False)

    return Table(place, "parquet file", schema, batches, count)


def _ipc(place: str) -> Table:
    import pyarrow as pa

    with open(place, "rb") as file:
        start = file.read(6)
    as_file = start == b"ARROW1"
    kind = "Arrow file" if as_file else "Arrow stream"

    def reader(mapped: Any) -> Any:
        return pa.ipc.open_file(mapped) if as_file else pa.ipc.open_stream(mapped)

    with reading(place, kind, *_errors()), pa.memory_map(place) as mapped:
        schema = reader(mapped).schema

    def batches(columns: Sequence[str], size: int) -> Iterator[Any]:
        tops = list(dict.fromkeys(_top(column, schema) for column in columns))
        with pa.memory_map(place) as mapped:
            opened = reader(mapped)
            whole = map(opened.get_batch, range(opened.num_record_batches)) if as_file else opened
            for batch in whole:
                batch = batch.select(tops)
                batch.validate(full=True)  # what a damaged file points at lies outside it, and reading that is fatal
                for first in range(0, batch.num_rows, size):
                    yield batch.slice(first, size)

    return Table(place, kind, schema, batches)


def _top(column: str, schema: Any) -> str:
    return column if column in schema.names else column.partition(".")[0]


def ending(place: str) -> bool:
    """Whether a file is named as one of these."""
    return os.path.splitext(place)[1] in _ENDINGS
