"""Reads a whole cache, in a process of its own: a damaged file can kill whoever maps it. Run by its path.

Exits with 0 for a sound cache, with `DAMAGED` and the reason on standard output for one that isn't, and with
something else where it can't tell.
"""

import sys
import zlib
from contextlib import suppress

__all__ = ["DAMAGED", "inspect", "sound"]

DAMAGED = 3


def sound(value: bytes) -> bool:
    """Whether a kept answer is whole: little-endian float32, then their CRC-32 and a byte 1; older ones end early."""
    if len(value) % 4 == 1:
        return value[-1] == 1 and zlib.crc32(value[:-5]).to_bytes(4, "little") == value[-5:-1]
    return len(value) > 0 and len(value) % 4 == 0


def inspect(folder: str) -> str:
    """What is wrong with the cache in `folder`, or nothing."""
    import lmdb

    unrelated = (lmdb.MemoryError, lmdb.DiskError, lmdb.ReadonlyError, lmdb.LockError, lmdb.ReadersFullError)
    try:
        with lmdb.open(folder, map_size=2**36, max_readers=512) as database:
            with database.begin() as reading:
                entries, count, last = reading.stat()["entries"], 0, b""
                for key, value in reading.cursor():
                    if count == entries or len(key) != 32 or key <= last:
                        return "its index is out of order"
                    if not sound(value):
                        return "an answer isn't what was kept"
                    count, last = count + 1, key
                if count != entries:
                    return f"{count} answers of {entries} are left"
            with database.begin(write=True) as writing:  # reads the list of free pages too
                writing.put(b"\0" * 32, b"\0" * 2**14)
                writing.abort()
    except unrelated as error:
        sys.exit(f"{error}")
    except lmdb.Error:
        return "it can't be read"
    return ""


if __name__ == "__main__":
    with suppress(ImportError):  # a crash here is expected, and needs no dump
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    found = inspect(sys.argv[1])
    sys.stdout.write(found)
    sys.exit(DAMAGED if found else 0)
