"""FAISS indexes. They are read in a child process, since some crash the process that reads them."""

import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import numpy as np

from unembed.errors import InputError
from unembed.sources.records import RecordBatch, SourceContents, SourceRequest

__all__ = ["open_store"]

HEADER = struct.Struct("<qqq")
_LANGCHAIN = "index.pkl beside it is a pickle and stays closed: texts and ids are in there"


def open_store(place: str, request: SourceRequest) -> SourceContents:
    """An index file, or a folder with an index.faiss; ids are the index's own."""
    if find_spec("faiss") is None:
        raise ModuleNotFoundError("No module named 'faiss'", name="faiss")
    path = Path(place, "index.faiss") if os.path.isdir(place) else Path(place)
    with _child(path, 1) as stream:
        kind, count, width, note = _described(path, stream)
    notes = [note] if note else []
    if os.path.isdir(place) and (path.parent / "index.pkl").is_file():
        notes.append(_LANGCHAIN)

    def read(size: int) -> Iterator[RecordBatch]:
        with _child(path, size) as stream:
            _described(path, stream)
            first = 0
            while first < count:
                rows = HEADER.unpack(_exactly(path, stream, HEADER.size))[0]
                ids = np.frombuffer(_exactly(path, stream, rows * 8), "<i8")
                vectors = np.frombuffer(_exactly(path, stream, rows * width * 4), "<f4").reshape(rows, width)
                numbers = np.arange(first, first + rows, dtype=np.int64)
                yield RecordBatch([str(number) for number in ids], vectors, numbers)
                first += rows

    return SourceContents(f"FAISS, {kind}", read, count, notes=tuple(notes))


@contextmanager
def _child(path: Path, size: int) -> Iterator[IO[bytes]]:
    """What a child process says of the index; its complaint, or its death, is an InputError."""
    command = [sys.executable, "-m", "unembed_stores.faiss_child", str(path), str(size)]
    with tempfile.TemporaryFile() as said, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as child:
        assert child.stdout is not None
        try:
            yield child.stdout
        except EOFError as error:
            child.wait()
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            if child.returncode < 0:
                reason = f"faiss crashed on it (signal {-child.returncode})"
            else:
                reason = lines[-1] if lines else "the reading process ended early"
            raise InputError(f"{path} can't be read as a FAISS index: {reason[:300]}") from error
        finally:
            child.kill()


def _exactly(path: Path, stream: IO[bytes], count: int) -> bytes:
    found = stream.read(count)
    if len(found) < count:
        raise EOFError(f"{path}: {len(found)} of {count} bytes")
    return found


def _described(path: Path, stream: IO[bytes]) -> tuple[str, int, int, str]:
    count, width, length = HEADER.unpack(_exactly(path, stream, HEADER.size))
    kind, _, note = _exactly(path, stream, length).decode().partition("\n")
    return kind, count, width, note
