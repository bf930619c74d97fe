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

PRESENT = 0  # the byte that every process with the cache open holds a share of


class Claims:
    """Claims on keys, each a lock on one byte of a file: the system frees them with their process, however it ends.

    One object a file and process: closing any handle of a file frees all of its process's locks.
    """

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._held: set[int] = set()
        self._guard = threading.Lock()

    @contextmanager
    def claim(self, keys: Iterable[bytes]) -> Iterator[list[bool]]:
        """Hold those of `keys` that are free, until the block ends; says which they are, without waiting."""
        places = [(int.from_bytes(key[:8], "big") >> 2) + 1 for key in keys]
        mine: list[bool] = []
        try:
            for place in places:
                mine.append(self._take(place))
            yield mine
        finally:
            for place, taken in zip(places, mine, strict=False):
                if taken:
                    self._free(place)

    def alone(self) -> bool:
        """Whether no other process has the cache open, which until `share` none can then do."""
        return fcntl is None or self._lock(PRESENT, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def share(self) -> None:
        """Have the cache open beside others; waits for one that is alone with it."""
        if fcntl is not None:
            self._lock(PRESENT, fcntl.LOCK_SH)

    def leave(self) -> None:
        """Have it open no longer, and claim nothing more."""
        os.close(self._file)

    def _take(self, place: int) -> bool:
        with self._guard:
            if place in self._held or not (fcntl is None or self._lock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)):
                return False
            self._held.add(place)
            return True

    def _free(self, place: int) -> None:
        with self._guard:
            self._held.discard(place)
            if fcntl is not None:
                self._lock(place, fcntl.LOCK_UN)

    def _lock(self, place: int, how: int) -> bool:
        """Whether the byte could be locked; a file system without locks keeps nobody back."""
        try:
            fcntl.lockf(self._file, how, 1, place)
        except OSError as error:
            return error.errno not in (errno.EACCES, errno.EAGAIN)
        return True
