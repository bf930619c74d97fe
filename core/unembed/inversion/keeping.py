"""Results in a file as they leave a search, and where a run that was stopped goes on.

Rows are JSON lines, written whole and flushed. Each begins with `run`, a fingerprint of the inputs and one of the
settings that it was made with: by it a file is known as the program's own, and as that of the same run.
"""

import errno
import hashlib
import json
import os
import re
import stat
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zlib import crc32

from unembed.errors import InputError, OutputError, brief

__all__ = ["KeptRows", "Lines", "check_output", "digest", "key_of", "read_lines"]

RUN = re.compile(r"[0-9a-f]{8}-[0-9a-f]{8}")
_BEGINNING = b'{"run": "00000000-00000000"'  # of a row, its digits aside
FRESH = "name another file, or begin anew with --restart"


def digest(*parts: object) -> str:
    """A fingerprint of some texts and numbers: eight hexadecimal digits."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part if isinstance(part, bytes) else str(part).encode(errors="surrogatepass"))
        found.update(b"\0")
    return found.hexdigest()[:8]


def key_of(row: Mapping[str, Any]) -> int:
    """What tells one row of a run from its others: its number and its id, as 32 bits."""
    return crc32(f"{row.get('index')}:{row.get('id')}:{row.get('input')}".encode(errors="surrogatepass"))


def check_output(path: Path) -> None:
    """Raise InputError unless rows can be written to `path`: a new file, an old one, a pipe, or the null device.

    Links are followed. Nothing is created.
    """
    name = brief(path)
    try:
        found = os.stat(path)
    except FileNotFoundError:
        _check_parent(path)
        return
    except (OSError, ValueError) as error:
        raise InputError(f"can't write {name}: {getattr(error, 'strerror', None) or error}") from error
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"can't write {name}: it is a folder; name a file")
    if not (stat.S_ISREG(found.st_mode) or _is_stream(path, found)):
        raise InputError(f"can't write {name}: it is a device or a socket; name a file")
    if not os.access(path, os.W_OK):
        raise InputError(f"can't write {name}: there is no permission")


def _check_parent(path: Path) -> None:
    target = Path(os.path.realpath(path))  # where a link leads, though nothing is there
    if not target.parent.is_dir():
        raise InputError(f"can't write {brief(path)}: there is no folder {brief(target.parent)}")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise InputError(f"can't write {brief(path)}: there is no permission to write to {brief(target.parent)}")
    try:
        most = os.pathconf(target.parent, "PC_NAME_MAX")
    except (OSError, ValueError, AttributeError):
        return
    if len(os.fsencode(target.name)) > most:
        raise InputError(f"can't write {brief(path)}: its name is longer than {most} bytes")


def _is_stream(path: Path, found: os.stat_result) -> bool:
    """Whether what lies there takes lines and keeps none: a pipe, a terminal, the null device."""
    if stat.S_ISFIFO(found.st_mode):
        return True
    if not stat.S_ISCHR(found.st_mode):
        return False
    if found.st_rdev == os.stat(os.devnull).st_rdev:
        return True
    try:
        handle = os.open(path, os.O_WRONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.isatty(handle)
    finally:
        os.close(handle)


class Lines:
    """JSON lines in one file, appended whole, by one process at a time; a context manager.

    Entering opens or creates the file (with `mode`, less the umask) and drops a last line that a kill cut short;
    leaving removes a file that it created and that got no line. Raises InputError where it can't be opened or another
    process writes to it, OutputError where a line can't be written.
    """

    def __init__(self, path: Path, *, mode: int = 0o666) -> None:
        self.path = path
        self._mode = mode
        self._handle: int | None = None
        self._created = False
        self._end: int | None = None  # bytes of whole lines; None where lines aren't kept

    def __enter__(self) -> Self:
        try:
            self._created = not os.path.exists(self.path)
            regular = self._created or stat.S_ISREG(os.stat(self.path).st_mode)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND if regular else os.O_WRONLY
            self._handle = os.open(self.path, flags, self._mode)
            if regular:
                self._lock()
                self._cut()
        except OSError as error:
            self._close()
            raise InputError(f"can't write {brief(self.path)}: {error.strerror}") from error
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        empty = self._created and self._end == 0
        self._close()
        if empty:
            Path(os.path.realpath(self.path)).unlink(missing_ok=True)

    def _close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
        self._handle = None

    def _lock(self) -> None:
        assert self._handle is not None
        try:
            import fcntl
        except ImportError:  # not on Windows
            return
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"another process is writing to {brief(self.path)}; wait for it") from error

    def _cut(self) -> None:
        """Find where the last whole line ends, and cut there."""
        assert self._handle is not None
        size = place = os.fstat(self._handle).st_size
        while place > 0:
            start = max(0, place - 65_536)
            last = os.pread(self._handle, place - start, start).rfind(b"\n")
            if last >= 0:
                place = start + last + 1
                break
            place = start
        if place < size:
            os.ftruncate(self._handle, place)
        self._end = place

    def clear(self) -> None:
        """Drop every line; the file, its permissions and links to it stay."""
        if self._handle is not None and self._end is not None:
            os.ftruncate(self._handle, 0)
            self._end = 0

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows, all at once; they are on the system's side when this returns."""
        assert self._handle is not None
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        left = memoryview(text.encode(errors="surrogateescape"))
        size = len(left)
        try:
            while left:
                left = left[os.write(self._handle, left) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            if self._end is not None:
                os.ftruncate(self._handle, self._end)
            raise OutputError(_unwritten(self.path, error, kept=self._end is not None)) from error
        if self._end is not None:
            self._end += size

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows that are there, in order; raises InputError for a line that is no JSON object."""
        yield from read_lines(self.path) if self._end else ()


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole JSON lines of a file; raises InputError for one that is no JSON object."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise InputError(f"{brief(path)}, line {number} isn't a row of results; {FRESH}")
            yield row


def _unwritten(path: Path, error: OSError, *, kept: bool) -> str:
    rest = "; rows so far are kept: make room and give the same command again" if kept else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"can't write {brief(path)}: {error.strerror}{rest}"
    return f"can't write {brief(path)}: {error.strerror}{'; rows so far are kept' if kept else ''}"


class KeptRows:
    """The rows of one run in `path`, and how many of them are there already; a context manager.

    `inputs` and `settings` are fingerprints (`digest`) of what is inverted, and of all that rows depend on beside it.
    A file of the same run goes on after its rows; one of another run is refused with InputError unless `restart`
    drops its rows, and one that the program didn't write in any case.
    """

    def __init__(self, path: Path, *, inputs: str, settings: str, restart: bool = False) -> None:
        self.path = path
        self.run = f"{inputs}-{settings}"
        self.keys = array("L")  # of the rows that are there, in order
        self._restart = restart
        self._lines = Lines(path)

    @property
    def done(self) -> int:
        """How many rows were there."""
        return len(self.keys)

    def __enter__(self) -> Self:
        check_output(self.path)
        refuse_strange(self.path)
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
        runs = set()
        for row in self._lines.rows():
            runs.add(run_of(row, self.path))
            if len(row) > 1:
                self.keys.append(key_of(row))
        if self._restart and runs:
            self._lines.clear()
            self.keys = array("L")
        elif runs - {self.run}:
            raise InputError(other_run(self.path, next(iter(runs - {self.run})), self.run))

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows, all at once."""
        self._lines.append([{"run": self.run, **row} for row in rows])

    def claim(self) -> None:
        """Write the run alone, where other files are to lie beside this one before its first row."""
        self._lines.append([{"run": self.run}])

    def finish(self) -> None:
        """Nothing is left to do: rows are there when `append` returns."""


def run_of(row: Mapping[str, Any], path: Path) -> str:
    """The run that a row is of; raises InputError for a row that the program didn't write."""
    run = row.get("run")
    if not isinstance(run, str) or not RUN.fullmatch(run):
        raise InputError(not_ours(path))
    return run


def not_ours(path: Path) -> str:
    """Why a file is left alone."""
    return f"{brief(path)} wasn't written by `unembed invert --out`, so it isn't replaced; name another file"


def other_run(path: Path, was: str, now: str) -> str:
    """Why the rows of one run aren't mixed with another's."""
    what = "inputs" if was.partition("-")[0] != now.partition("-")[0] else "settings"
    more = "" if what == "inputs" else " (inverter, embedder, effort, seed or precision)"
    return f"{brief(path)} holds results of other {what}{more}: give those again, {FRESH}"


def refuse_strange(path: Path) -> None:
    """Raise InputError for a file whose beginning or end shows that the program didn't write it. Changes nothing."""
    if not os.path.isfile(path):
        return
    try:
        with open(path, "rb") as file:
            first = file.read(len(_BEGINNING))
            file.seek(max(0, os.path.getsize(path) - 65_536))
            last = file.read().rpartition(b"\n")[2]  # what a kill cut short, or nothing
    except OSError as error:
        raise InputError(f"can't read {brief(path)}: {error.strerror}") from error
    strange = 0 < len(first) < len('{"run": "')  # so little is never written
    if strange or not _begins(first) or not (_begins(last) or len(last) > 32_768):
        raise InputError(not_ours(path))


def _begins(found: bytes) -> bool:
    """Whether this is how a row, or the part of it that is there, begins."""
    return _BEGINNING.startswith(re.sub(rb"[0-9a-f]", b"0", found[: len(_BEGINNING)]))
