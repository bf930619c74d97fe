"""Rows in a folder of Parquet files, a block in each: what is there is whole, and its name says which block it is."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from unembed.errors import InputError, OutputError, brief
from unembed.inversion.keeping import FRESH, Lines, other_run, refuse_strange, run_of
from unembed.inversion.tables import write_table

__all__ = ["Parts", "check_parts"]

RUN = "_run.jsonl"  # which job it is; readers of Parquet pass over a name that begins so
PART = re.compile(r"rows-(\d{12})-(\d{12})\.parquet")


def check_parts(folder: Path) -> None:
    """Raise InputError unless parts can be written to a folder: a new one, an empty one, or one of ours."""
    name = brief(folder)
    try:
        found = sorted(os.listdir(folder)) if os.path.lexists(folder) else []
        above = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    except (OSError, ValueError) as error:
        raise InputError(f"--out {name} can't be a folder: {getattr(error, 'strerror', None) or error}") from error
    if not above.is_dir():
        raise InputError(f"--out {name} can't be a folder of parts: {brief(above)} is a file")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"--out {name} can't be written: there is no permission to write to {brief(above)}")
    strange = next((one for one in found if one != RUN and not one.startswith(".") and not PART.fullmatch(one)), None)
    if strange is not None or (found and RUN not in found):
        raise InputError(f"--out {name} holds {brief(strange or found[0])}, which isn't ours; name a new folder")
    refuse_strange(folder / RUN)


class Parts:
    """The rows of one job in `folder`, by blocks; a context manager that one process at a time can enter.

    `inputs` and `settings` are fingerprints, as in `KeptRows`: another job's folder is refused with InputError unless
    `restart` drops its rows. `done` has the place of the first row of each block that is there.
    """

    def __init__(self, folder: Path, *, inputs: str, settings: str, restart: bool = False) -> None:
        self.folder = folder
        self.run = f"{inputs}-{settings}"
        self.done: dict[int, int] = {}
        self._restart = restart
        self._lines = Lines(folder / RUN)
        self._size: int | None = None

    @property
    def count(self) -> int:
        """How many rows are there."""
        return sum(last - first for first, last in self.done.items())

    def __enter__(self) -> Self:
        check_parts(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"can't write {brief(self.folder)}: {error.strerror}") from error
        self._lines.__enter__()
        try:
            self._take()
        except BaseException:
            self._lines.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.__exit__(kind, error, trace)

    def _take(self) -> None:
        row = next(self._lines.rows(), None)
        was = None if row is None else run_of(row, self.folder / RUN)
        for path in self.folder.iterdir():
            part = PART.fullmatch(path.name)
            if path.name.endswith(".tmp") or (part and self._restart):
                path.unlink()
            elif part:
                self.done[int(part[1])] = int(part[2])
        if row is None or self._restart:
            self._lines.clear()
            return
        if was != self.run:
            raise InputError(other_run(self.folder, str(was), self.run))
        self._size = int(row.get("block", 0))
        if self._size < 1 or any(first % self._size for first in self.done):
            raise InputError(f"{brief(self.folder)} doesn't say how long its blocks are; {FRESH}")

    def begin(self, size: int) -> int:
        """How long the blocks are: `size`, or as long as they were when the job began."""
        if self._size is None:
            self._size = size
            self._lines.append([{"run": self.run, "block": size}])
        return self._size

    def append(self, first: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows of the block that begins at place `first`, all or none; raises OutputError."""
        name = f"rows-{first:012}-{first + len(rows):012}.parquet"
        temporary = self.folder / f".{name}.tmp"
        try:
            write_table(temporary, self.run, iter(rows))
            os.replace(temporary, self.folder / name)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise OutputError(
                f"can't write {brief(self.folder / name)}: {error.strerror or error}; rows so far are kept: make room "
                "and give the same command again"
            ) from error
        self.done[first] = first + len(rows)

    def first_missing(self) -> int:
        """The first place whose row isn't there."""
        place = 0
        while place in self.done:
            place = self.done[place]
        return place
