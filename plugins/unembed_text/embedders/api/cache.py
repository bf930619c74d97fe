"""Answers kept on disk, so that nothing is paid for twice and a killed run goes on where it was."""

import atexit
import hashlib
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unembed.errors import InputError, MissingExtraError, UnembedError
from unembed_text.embedders.api import inspect_cache
from unembed_text.embedders.api.claims import Claims

try:
    import lmdb
except ImportError as error:
    raise MissingExtraError("embedding APIs need an extra: pip install 'unembed[api]'") from error

__all__ = ["VectorCache"]

LIMIT = 2**36  # bytes of address space, not of disk
ANY = ""  # no service is asked for the empty text: under it stands a vector whose width is that of all
CRASHES = {-getattr(signal, name) for name in ("SIGBUS", "SIGSEGV", "SIGABRT", "SIGFPE") if hasattr(signal, name)}


class VectorCache:
    """Vectors by (service, model, dimensions) and text, in LMDB: safe to share between threads and processes."""

    def __init__(self, folder: Path, *, space: str) -> None:
        self._store = _open(folder.resolve())
        self._space = space
        self._width_kept = False

    def get(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """The vectors that are known, by text; raises InputError where the cache is damaged."""
        found = {}
        with self._store.using(), self._store.database.begin() as reading:
            for text in texts:
                value = reading.get(self._key(text))
                if value is None:
                    continue
                if not inspect_cache.sound(value):
                    raise self._store.damaged("an answer isn't what was kept")
                floats = value[: len(value) // 4 * 4 - 4] if len(value) % 4 else value
                found[text] = torch.from_numpy(np.frombuffer(floats, dtype="<f4").copy())
        return found

    def put(self, vectors: Mapping[str, Tensor]) -> None:
        """Keep vectors by text; they are on disk when this returns."""
        if not vectors:
            return
        with self._store.using(), self._store.database.begin(write=True) as writing:
            for text, vector in vectors.items():
                writing.put(self._key(text), _packed(vector))
            if not self._width_kept:
                writing.put(self._key(ANY), _packed(vector), overwrite=False)
        self._width_kept = True

    def width(self) -> int | None:
        """How wide the vectors are, where any is known."""
        found = self.get([ANY])
        return len(found[ANY]) if found else None

    @contextmanager
    def claimed(self, texts: Sequence[str]) -> Iterator[list[str]]:
        """Those of `texts` that nobody else is asking for; within the block no other process asks for them."""
        with self._store.claims.claim([self._key(text) for text in texts]) as free:
            yield [text for text, mine in zip(texts, free, strict=True) if mine]

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(f"{self._space}\0{text}".encode()).digest()


def _packed(vector: Tensor) -> bytes:
    floats = vector.numpy().astype("<f4").tobytes()
    return floats + zlib.crc32(floats).to_bytes(4, "little") + b"\1"


class _Store:
    """The database of one folder, which LMDB lets a process open once."""

    def __init__(self, folder: Path) -> None:
        self.file, self._stamp = folder / "data.mdb", folder / "sound"
        self._sound = True
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.claims = Claims(folder / "claims")
            self._enter()
            self.database: Any = lmdb.open(str(folder), map_size=LIMIT, max_readers=512)
            self.database.reader_check()  # frees what killed processes held
        except (OSError, lmdb.Error) as error:
            where = str(folder) if len(str(folder)) < 200 else f"{str(folder)[:100]}…"
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"can't open the cache of embeddings at {where}: {reason}; set UNEMBED_CACHE") from error
        atexit.register(self._close)

    def _enter(self) -> None:
        """Join those that have the cache open; the first inspects it unless it is as the last one left it."""
        alone = self.claims.alone()
        if not alone:
            self.claims.share()
        try:
            if self._state() != self._stamped() if alone else not self._stamp.exists():
                self._inspect()
            if alone:
                self._stamp.write_text(self._state(), encoding="utf-8")
        except BaseException:
            self.claims.leave()
            raise
        self.claims.share()

    @contextmanager
    def using(self) -> Iterator[None]:
        """Say plainly what goes wrong with the database."""
        try:
            yield
        except (lmdb.MapFullError, lmdb.DiskError, lmdb.MemoryError) as error:
            raise UnembedError(f"can't use the cache of embeddings {self.file}: {error}; set UNEMBED_CACHE") from error
        except lmdb.Error as error:
            raise self.damaged("it can't be read") from error

    def damaged(self, reason: str) -> InputError:
        """The error to raise; whoever opens the cache next inspects it."""
        self._sound = False
        self._stamp.unlink(missing_ok=True)
        return InputError(f"the cache of embeddings is damaged ({reason}): delete {self.file}")

    def _state(self) -> str:
        """What changes with every write: a file that is as it was left needs no inspection."""
        try:
            found = self.file.stat()
        except FileNotFoundError:
            return ""
        return f"{found.st_ino} {found.st_size} {found.st_mtime_ns}"

    def _stamped(self) -> str:
        try:
            return self._stamp.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def _inspect(self) -> None:
        """Raise InputError where the file is damaged: reading it here could kill this process."""
        size = self.file.stat().st_size if self.file.exists() else 0
        if size == 0:
            if self.file.exists() and self._stamped():
                raise self.damaged("it is empty")
            return
        command = [sys.executable, "-P", inspect_cache.__file__, str(self.file.parent)]
        found = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if found.returncode in CRASHES:
            raise self.damaged("it can't be read")
        if found.returncode == inspect_cache.DAMAGED:
            raise self.damaged(found.stdout.strip()[:200])

    def _close(self) -> None:
        self.database.close()
        if self._sound and self.claims.alone():
            with suppress(OSError):  # without a stamp it is inspected next time
                self._stamp.write_text(self._state(), encoding="utf-8")
        self.claims.leave()


@cache
def _open(folder: Path) -> _Store:
    return _Store(folder)
