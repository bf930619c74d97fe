"""Which texts are being asked for, so that of several processes with one cache only one asks."""

import errno
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # where files have no such locks, threads still keep apart
    fcntl = None  # type: ignore[assignment]

__all__ = ["Claims"]

FILES = 64  # the system looks through all locks of a file for each, so thousands are spread


class Claims:
    """Claims on keys, each a lock on one byte of a file: the system frees them with their process, however it ends.

    One object a folder and process: closing any handle of a file frees all of its process's locks.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._present = _open(folder / "present")  # of which every process that has the cache open holds a share
        self._files: dict[int, int] = {}
        self._held: set[bytes] = set()
        self._guard = threading.Lock()

    @contextmanager
    def claim(self, keys: Iterable[bytes]) -> Iterator[list[bool]]:
        """Hold those of `keys` that are free, until the block ends; says which they are, without waiting."""
        keys, mine = list(keys), list[bool]()
        try:
            for key in keys:
                mine.append(self._take(key))
            yield mine
        finally:
            for key, taken in zip(keys, mine, strict=False):
                if taken:
                    self._free(key)

    def alone(self) -> bool:
        """Whether no other process has the cache open, which until `share` none can then do."""
        return fcntl is None or _lock(self._present, fcntl.LOCK_EX | fcntl.LOCK_NB, 0)

    def share(self) -> None:
        """Have the cache open beside others; waits for one that is alone with it."""
        if fcntl is not None:
            _lock(self._present, fcntl.LOCK_SH, 0)

    def leave(self) -> None:
        """Have it open no longer, and claim nothing more."""
        for file in (self._present, *self._files.values()):
            os.close(file)

    def _take(self, key: bytes) -> bool:
        with self._guard:
            if key in self._held:
                return False
            if fcntl is not None and not _lock(*self._place(key, fcntl.LOCK_EX | fcntl.LOCK_NB)):
                return False
            self._held.add(key)
            return True

    def _free(self, key: bytes) -> None:
        with self._guard:
            self._held.discard(key)
            if fcntl is not None:
                _lock(*self._place(key, fcntl.LOCK_UN))

    def _place(self, key: bytes, how: int) -> tuple[int, int, int]:
        """The file and the byte of a key, with what to do there between them."""
        number = key[0] % FILES
        if number not in self._files:
            self._files[number] = _open(self._folder / str(number))
        return self._files[number], how, int.from_bytes(key[1:8], "big")


def _open(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _lock(file: int, how: int, place: int) -> bool:
    """Whether the byte could be locked; a file system without locks keeps nobody back."""
    try:
        fcntl.lockf(file, how, 1, place)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True
