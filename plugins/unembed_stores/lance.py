"""Lance tables, LanceDB's format: live rows, deleted ones that the files still hold, and files of older versions."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lance
import numpy as np
from lance.file import LanceFileReader

from unembed.errors import InputError
from unembed.sources.files.arrow import Table
from unembed.sources.files.arrow_columns import Layout, batches_from, layout_of
from unembed.sources.records import RecordBatch, SourceContents, SourceRequest
from unembed.sources.rows import listed, reading

__all__ = ["open_store"]

_ERRORS = (OSError, ValueError, RuntimeError, KeyError, IndexError)
_ORPHANS = "data files that the table's newest version doesn't name were read too; their rows are marked as deleted"


def open_store(place: str, request: SourceRequest) -> SourceContents:
    """A LanceDB folder, whose tables are its collections, or one table's folder."""
    folders = _tables(place, request)
    tables = []
    for name, folder in folders:
        with reading(str(folder), "Lance table", *_ERRORS):
            dataset = lance.dataset(str(folder))
            try:
                tables.append((name, folder, dataset, _layout(folder, dataset, request)))
            except InputError:
                if len(folders) == 1 or request.column is not None:
                    raise
    if not tables:
        raise InputError(f"{place} has no table with vectors; its tables: {listed([name for name, _ in folders])}")

    def read(size: int) -> Iterator[RecordBatch]:
        first = 0
        for name, folder, dataset, layout in tables:
            with reading(str(folder), "Lance table", *_ERRORS):
                for batch in _read(name, folder, dataset, layout, request, size, first):
                    yield batch
                    first = max([first - 1, *batch.rows.tolist(), *(row.row for row in batch.skipped)]) + 1

    return SourceContents("LanceDB", read, collections=tuple(name for name, *_ in tables))


def _tables(place: str, request: SourceRequest) -> list[tuple[str, Path]]:
    folder = Path(place)
    if (folder / "_versions").is_dir():
        return [(folder.name.removesuffix(".lance"), folder)]
    found = sorted(path for path in folder.iterdir() if path.suffix == ".lance" and (path / "_versions").is_dir())
    tables = [(path.stem, path) for path in found]
    chosen = [(name, path) for name, path in tables if request.collection in (None, name)]
    if not chosen:
        raise InputError(f"{place} has no table {request.collection!r}; it has {listed([name for name, _ in tables])}")
    return chosen


def _layout(folder: Path, dataset: Any, request: SourceRequest) -> Layout:
    def sample(columns: Sequence[str]) -> Any:
        batches = dataset.scanner(columns=list(columns), limit=8).to_batches()
        return next((batch for batch in batches if batch.num_rows), None)

    return layout_of(str(folder), dataset.schema, sample, request)


def _read(
    name: str, folder: Path, dataset: Any, layout: Layout, request: SourceRequest, size: int, first: int
) -> Iterator[RecordBatch]:
    """Rows of the newest version, deleted ones marked, then those of files that it doesn't name."""
    table = Table(str(folder), "Lance table", dataset.schema, lambda columns, count: iter(()), collection=name)
    scanner = dataset.scanner(
        columns=layout.columns,
        batch_size=size,
        batch_readahead=1,
        fragment_readahead=1,
        with_row_id=request.deleted,
        include_deleted_rows=request.deleted,
    )
    for arrow in scanner.to_batches():
        gone = np.zeros(arrow.num_rows, bool)
        if request.deleted:
            gone = arrow.column("_rowid").is_null().to_numpy(zero_copy_only=False)
        for batch in batches_from(iter([arrow]), layout, table, request, first, size):
            yield replace(batch, deleted=gone[batch.rows - first])
        first += arrow.num_rows
    if request.deleted:
        yield from _orphans(folder, dataset, layout, table, request, size, first)


def _orphans(
    folder: Path, dataset: Any, layout: Layout, table: Table, request: SourceRequest, size: int, first: int
) -> Iterator[RecordBatch]:
    """Rows of files that an older version named, or none does any more."""
    named = {file.path for fragment in dataset.get_fragments() for file in fragment.data_files()}
    present = {path.name for path in (folder / "data").glob("*.lance")} if (folder / "data").is_dir() else set()
    for file in sorted(present - {os.path.basename(path) for path in named}):
        try:
            reader = LanceFileReader(str(folder / "data" / file))
            names = reader.metadata().schema.names
        except _ERRORS:
            continue  # a file of an older format, or one that was never finished
        if not set(layout.columns) <= set(names):
            continue
        for arrow in reader.read_all(batch_size=size, batch_readahead=1).to_batches():
            for batch in batches_from(iter([arrow]), layout, table, request, first, size):
                yield replace(batch, deleted=np.ones(len(batch), bool), notes=(*batch.notes, _ORPHANS))
            first += arrow.num_rows
