"""SQLite files opened to be read only: nothing beside the file is written, not even for a moment."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from unembed.errors import InputError

__all__ = ["connected", "named"]


@contextmanager
def connected(path: str | Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection; its errors become InputError.

    A file with a write-ahead log is copied with it to a temporary folder first, since SQLite writes beside a file
    whose log it reads.
    """
    path = Path(path)
    try:
        log = path.with_name(path.name + "-wal")
        if log.is_file() and log.stat().st_size:
            with tempfile.TemporaryDirectory(prefix="unembed-") as folder:
                for part in (path, log):
                    shutil.copyfile(part, Path(folder, part.name))
                with closing(_open(Path(folder, path.name), "mode=ro")) as found:
                    yield found
        else:
            with closing(_open(path, "mode=ro&immutable=1")) as found:
                yield found
    except sqlite3.Error as error:
        raise InputError(f"{path} isn't a readable SQLite file, or is damaged: {error}") from error


def _open(path: Path, options: str) -> sqlite3.Connection:
    found = sqlite3.connect(f"file:{quote(str(path.absolute()))}?{options}", uri=True)
    found.text_factory = lambda raw: raw.decode("utf-8", errors="replace")
    found.row_factory = sqlite3.Row
    return found


def named(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'
