"""Kept rows as a Parquet file: while a run goes on they are JSON lines beside it."""

import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from unembed.errors import InputError, OutputError, brief
from unembed.inversion.keeping import KeptRows, check_output, key_of, not_ours, other_run, read_lines

if TYPE_CHECKING:
    import pyarrow

__all__ = ["KeptTable", "write_table"]

KEY = b"unembed.run"
AT_ONCE = 8192  # rows of a row group


class KeptTable:
    """Like `KeptRows`, for a Parquet file: rows lie in `NAME.jsonl` until `finish` makes the table of them."""

    def __init__(self, path: Path, *, inputs: str, settings: str, restart: bool = False) -> None:
        self.path = path
        self._waiting = path.with_name(f"{path.name}.jsonl")
        self._rows = KeptRows(self._waiting, inputs=inputs, settings=settings, restart=restart)
        self.run = self._rows.run
        self._restart = restart
        self._whole: array[int] | None = None  # keys of a table that was finished before

    @property
    def done(self) -> int:
        """How many rows were there."""
        return len(self.keys)

    @property
    def keys(self) -> Sequence[int]:
        """Of the rows that are there, in order."""
        return self._rows.keys if self._whole is None else self._whole

    def __enter__(self) -> Self:
        check_output(self.path)
        was = table_run(self.path)
        if was is not None and not self._restart:
            if was != self.run:
                raise InputError(other_run(self.path, was, self.run))
            self._whole = array("L", table_keys(self.path))
        self._rows.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.__exit__(kind, error, trace)

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows, all at once."""
        self._rows.append(rows)

    def finish(self) -> None:
        """Make the table of all rows, whole or not at all; raises OutputError."""
        target = Path(os.path.realpath(self.path))
        if self._whole is None:
            # No longer than the name itself, so that it fits where that does.
            temporary = target.with_name(f".{os.getpid()}.tmp")
            try:
                write_table(temporary, self.run, read_lines(self._waiting) if self._waiting.exists() else iter(()))
                if target.exists():
                    temporary.chmod(target.stat().st_mode & 0o7777)
                os.replace(temporary, target)
            except OSError as error:
                raise OutputError(
                    f"can't write {brief(self.path)}: {error.strerror or error}; its rows are kept in "
                    f"{brief(self._waiting)}: make room and give the same command again"
                ) from error
            finally:
                temporary.unlink(missing_ok=True)
        self._waiting.unlink(missing_ok=True)


def table_run(path: Path) -> str | None:
    """The run that a table is of, None where there is none yet; raises InputError for another's file."""
    if not path.exists() or not path.stat().st_size:
        return None
    import pyarrow
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_schema(path).metadata or {}
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(not_ours(path)) from error
    if KEY not in metadata:
        raise InputError(not_ours(path))
    return str(metadata[KEY].decode())


def table_keys(path: Path) -> Iterator[int]:
    """The keys of a table's rows, in order."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as table:
        for part in table.iter_batches(columns=["index", "id", "input"]):
            yield from map(key_of, part.to_pylist())


def write_table(path: "Path | BinaryIO", run: str, rows: Iterator[Mapping[str, Any]]) -> None:
    """Write rows of a run, or of none (""), as a Parquet file."""
    import pyarrow.parquet

    schema = _schema(run)
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        while part := list(islice(rows, AT_ONCE)):
            writer.write_table(pyarrow.Table.from_pylist([_with_words(row) for row in part], schema))


def _with_words(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row whose words are structs, where it has any."""
    if not row.get("words"):
        return row
    return {**row, "words": [{"word": word, "probability": sure} for word, sure in row["words"]]}


def _schema(run: str) -> "pyarrow.Schema":
    import pyarrow

    text, number, real, flag = pyarrow.string(), pyarrow.int64(), pyarrow.float64(), pyarrow.bool_()
    fields = {
        "index": number, "input": text, "id": text, "collection": text, "deleted": flag, "reconstruction": text,
        "similarity": real, "exact": flag, "confidence": real, "steps": number, "queries": number, "stopped": text,
        "precision": text, "verdict": text, "undone": text,
        "words": pyarrow.list_(pyarrow.struct([("word", text), ("probability", real)])),
    }  # fmt: skip
    return pyarrow.schema(list(fields.items()), metadata={KEY: run.encode()})
