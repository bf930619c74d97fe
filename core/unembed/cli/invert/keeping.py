"""Where the results of `unembed invert` go: nowhere but the terminal, a file of rows, a table, a folder of files."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from unembed.errors import InputError, OutputError, brief
from unembed.inversion.keeping import KeptRows, Lines, check_output, refuse_strange
from unembed.inversion.tables import KeptTable

if TYPE_CHECKING:
    from unembed.inversion.inverter import Inverter
    from unembed.inversion.results import Inversion, Row
    from unembed.registry.specs import Modality

__all__ = ["Results", "check_out", "check_outside", "open_results"]

TABLES = {".csv", ".tsv", ".npy", ".npz", ".xlsx", ".feather", ".arrow"}
ROWS = "results.jsonl"  # in a folder of files


class Results(Protocol):
    """What takes the results of one run; `keys` are those of the results that are there already, in order."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def keys(self) -> Sequence[int]:
        """Of the results that are there."""
        ...

    @property
    def done(self) -> int:
        """How many are there."""
        ...

    def append(self, rows: "list[Row]") -> None:
        """Keep rows."""
        ...

    def finish(self) -> None:
        """All rows are there."""
        ...


def check_out(out: Path | None, kind: "Modality | None", inverter: str, *, dry: bool) -> None:
    """Raise InputError unless results of that modality (None: not known yet) can go to `out`; creates nothing.

    Where nothing will be written (`dry`), whose a file is doesn't matter.
    """
    if kind is not None and kind.write is not None:
        if out is None:
            raise InputError(f"what inverter {brief(inverter)!r} recovers are files: name a folder for them, --out DIR")
        if not dry:
            check_folder(out)
    elif out is not None and (kind is not None or not os.path.isdir(out)):
        if out.suffix.lower() in TABLES:
            raise InputError(f"--out {brief(out)} can't be {out.suffix}: results are JSON lines (.jsonl), or .parquet")
        check_output(out)
        if out.suffix.lower() != ".parquet" and not dry:
            refuse_strange(out)


def check_outside(out: Path | None, source: str | None) -> None:
    """Raise InputError where results would lie within what is read."""
    if out is not None and source is not None and os.path.isdir(source):
        within = Path(os.path.realpath(source))
        if within in Path(os.path.realpath(out)).parents:
            raise InputError(f"--out {brief(out)} lies within --vectors {brief(source)}; name a place outside")


def check_folder(folder: Path) -> None:
    """Raise InputError unless files can be written to a folder: a new one, an empty one, or one with our results."""
    name = brief(folder)
    try:
        found = sorted(os.listdir(folder)) if os.path.lexists(folder) else []
        above = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    except (OSError, ValueError) as error:
        raise InputError(f"--out {name} can't be a folder: {getattr(error, 'strerror', None) or error}") from error
    if not above.is_dir():
        raise InputError(f"--out {name} can't be a folder: {brief(above)} is a file")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"--out {name} can't be written: there is no permission to write to {brief(above)}")
    rows = folder / ROWS
    if found and not (rows.is_file() and (rows.stat().st_size or found == [ROWS])):
        raise InputError(f"--out {name} holds {brief(found[0])}, which isn't ours; name a new or an empty folder")
    refuse_strange(rows)


def open_results(out: Path | None, kind: "Modality | None", *, inputs: str, settings: str, restart: bool) -> Results:
    """What takes the results: a context manager. Raises InputError for an `out` that holds another run's."""
    if out is None:
        return Shown()
    options: dict[str, Any] = {"inputs": inputs, "settings": settings, "restart": restart}
    if kind is not None and kind.write is not None:
        return FileResults(out, **options)
    return KeptTable(out, **options) if out.suffix.lower() == ".parquet" else KeptRows(out, **options)


class Shown:
    """Results that are only printed."""

    keys: Sequence[int]
    done: int

    def __init__(self) -> None:
        self.keys, self.done = (), 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def append(self, rows: "list[Row]") -> None:
        """Keep nothing."""

    def finish(self) -> None:
        """Nothing is left to do."""


class FileResults:
    """Results that are files in `folder`, whose rows lie in `results.jsonl` beside them; made at the first result."""

    def __init__(self, folder: Path, *, inputs: str, settings: str, restart: bool) -> None:
        self.folder = folder
        self._restart = restart
        self._rows = KeptRows(folder / ROWS, inputs=inputs, settings=settings, restart=restart)
        self._stack = ExitStack()
        self._open = False

    @property
    def keys(self) -> Sequence[int]:
        """Of the results that are there, in order."""
        return self._rows.keys

    @property
    def done(self) -> int:
        """How many results were there."""
        return self._rows.done

    def __enter__(self) -> Self:
        check_folder(self.folder)
        if (self.folder / ROWS).is_file():
            if self._restart:
                with Lines(self.folder / ROWS) as lines:
                    old = [str(row["reconstruction"]) for row in lines.rows() if "reconstruction" in row]
                for name in old:
                    (self.folder / Path(name).name).unlink(missing_ok=True)
            self._enter()
        return self

    def _enter(self) -> None:
        self._stack.enter_context(self._rows)
        self._open = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def write(self, kind: "Modality", inverter: "Inverter", inputs: Any, found: "Inversion", first: int) -> list[str]:
        """Write the files of results, of which `first` is the number of the first; their paths."""
        assert kind.write is not None
        try:
            if not self._open:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._enter()
            if not self._rows.done:
                self._rows.claim()
            more = {"first": first} if first else {}
            return [str(path) for path in kind.write(self.folder, inverter, inputs, found, **more)]
        except OSError as error:
            if isinstance(error, InputError | OutputError):
                raise
            raise OutputError(f"can't write to {brief(self.folder)}: {error.strerror or error}") from error

    def append(self, rows: "list[Row]") -> None:
        """Keep the rows of files that were written."""
        self._rows.append(rows)

    def finish(self) -> None:
        """Nothing is left to do."""
