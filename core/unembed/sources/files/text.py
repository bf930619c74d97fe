"""Text files, compressed or not, line by line."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from unembed.errors import InputError

__all__ = ["open_text"]

_COMPRESSED: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}


@contextmanager
def open_text(place: str, newline: str | None = "\n") -> Iterator[IO[str]]:
    """The file as UTF-8 text, unpacked where it is compressed; what isn't UTF-8 raises InputError.

    Lines end at \\n alone, and at nothing else that Unicode calls a line's end.
    """
    try:
        with open(place, "rb") as file:
            start = file.read(6)
            file.seek(0)
            unpack = next((opened for magic, opened in _COMPRESSED.items() if start.startswith(magic)), None)
            raw = file if unpack is None else unpack(file)
            encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
            with io.TextIOWrapper(raw, encoding=encoding, newline=newline) as text:
                yield text
    except UnicodeDecodeError as error:
        raise InputError(f"{place} isn't UTF-8 text (byte {error.start}); convert it first") from error
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise InputError(f"{place} can't be unpacked, it is cut or damaged: {error}") from error
    except OSError as error:
        raise InputError(f"{place} can't be read: {error.strerror or error}") from error
