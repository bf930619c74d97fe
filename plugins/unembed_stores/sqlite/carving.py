"""Rows that were deleted from a SQLite table but whose bytes weren't overwritten.

SQLite marks a deleted row's bytes as free and leaves them (unless it was built with SECURE_DELETE, as Debian's is);
a free block loses its first four bytes. A row's header lists the types of its columns, so a row is found by the type
of its vector (a blob of so many bytes), and checked by the types and sizes around it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unembed_stores.sqlite.pages import Pages, Region, varint

__all__ = ["Column", "carve", "columns_of"]

_LONGEST = 1 << 24


@dataclass(frozen=True)
class Column:
    """A column's name, and which of SQLite's storage classes it holds: i, r, t, b, or all."""

    name: str
    classes: str


def columns_of(info: Sequence[Any]) -> list[Column]:
    """Columns from the rows of `pragma table_info`; an integer primary key is stored as null."""
    keys = [row["name"] for row in info if row["pk"]]
    return [
        Column(
            row["name"],
            "" if keys == [row["name"]] and row["type"].upper() == "INTEGER" else _classes(row["type"].upper()),
        )
        for row in info
    ]


def _classes(declared: str) -> str:
    if "INT" in declared:
        return "i"
    if any(word in declared for word in ("CHAR", "CLOB", "TEXT")):
        return "t"
    return "b" if "BLOB" in declared else "irtb"


def carve(path: Path, columns: Sequence[Column], vector: str, lengths: Sequence[int] = ()) -> Iterator[dict[str, Any]]:
    """Deleted rows of a table of these columns, as dictionaries; copies of rows that still live may be among them.

    `vector` names the column of blobs, `lengths` the bytes that they may have; none means any from 256 up.
    """
    at = [column.name for column in columns].index(vector)
    pattern = _pattern(lengths)
    pages = Pages(path)
    try:
        for region in pages.dead():
            if region.last - region.first < 16:
                continue
            dead = pages.data[region.first : region.last]
            for found in pattern.finditer(dead):
                row = _row(pages, region, region.first + found.start(), columns, at)
                if row is not None:
                    yield row
    finally:
        pages.close()


def _pattern(lengths: Sequence[int]) -> re.Pattern[bytes]:
    """What the type of such a blob looks like in a row's header."""
    if not lengths:
        return re.compile(rb"(?=[\x84-\xff][\x00-\x7f])", re.DOTALL)
    return re.compile(b"|".join(re.escape(_as_varint(12 + 2 * length)) for length in set(lengths)), re.DOTALL)


def _as_varint(value: int) -> bytes:
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(value & 0x7F | 0x80)
    return bytes(reversed(parts))


def _row(pages: Pages, region: Region, at: int, columns: Sequence[Column], vector: int) -> dict[str, Any] | None:
    """The row whose vector's type stands at `at`, or None where the bytes around it fit no row."""
    data = pages.data
    for first, guessed in _starts(data, region, at, columns, vector):
        types = _types(data, first, region, columns, guessed)
        if types is None:
            continue
        sizes = [_size(kind) for kind in types.kinds]
        header = types.end - first + 1
        payload = header + sum(sizes)
        if payload > _LONGEST or header > 127 or not _announced(pages, first, header, payload, types.guessed):
            continue
        whole = pages.body(first - 1, header, payload, region)
        if whole is None:
            continue
        row, offset = {}, header
        number = None if types.guessed else _rowid(data, first - 1, payload)
        for column, kind, size in zip(columns, types.kinds, sizes, strict=True):
            row[column.name] = _value(kind, whole[offset : offset + size]) if column.classes else number
            offset += size
        return row
    return None


@dataclass(frozen=True)
class _Types:
    """The types of a row's columns, where they end, and whether the first was overwritten and guessed."""

    kinds: list[int]
    end: int
    guessed: bool


def _types(data: Any, first: int, region: Region, columns: Sequence[Column], guessed: bool) -> _Types | None:
    """The types that begin at `first`, if they fit the columns."""
    kinds, end = ([0], first + 1) if guessed else ([], first)
    try:
        for _ in columns[len(kinds) :]:
            kind, end = varint(data, end)
            kinds.append(kind)
    except IndexError:
        return None
    fitting = end <= region.last and all(_fits(kind, column) for kind, column in zip(kinds, columns, strict=True))
    return _Types(kinds, end, guessed) if fitting else None


def _rowid(data: Any, header: int, payload: int) -> int | None:
    """The row's number, from the two numbers before its header, as far as they are there."""
    size = _as_varint(payload)
    for length in range(1, 10):
        start = header - length
        if start - len(size) < 0:
            return None
        number, end = varint(data, start)
        if end == header and data[start - len(size) : start] == size:
            return number
    return None


def _starts(data: Any, region: Region, at: int, columns: Sequence[Column], vector: int) -> Iterator[tuple[int, bool]]:
    """Where a row's types may begin, and whether the first one is guessed, from where the vector's type stands.

    Of a row of less than 128 bytes a free block's head overwrites the first type, too; where that column is the row's
    number, it is known to be null.
    """
    yield from ((first, False) for first in _back(data, region, at, vector))
    if columns[0].classes == "" and vector > 0:
        yield from ((first - 1, True) for first in _back(data, region, at, vector - 1) if first - 1 > region.first)


def _back(data: Any, region: Region, at: int, count: int) -> list[int]:
    """Where the types of the `count` columns before may begin; how long the first of them is isn't certain."""
    begin = at
    for place in range(count):
        begin -= 1
        if begin <= region.first or data[begin] >= 0x80:
            return []
        if place == count - 1:
            longer = [begin - more for more in (1, 2) if begin - more > region.first and data[begin - more] >= 0x80]
            return [begin, *longer]
        while begin - 1 > region.first and data[begin - 1] >= 0x80:
            begin -= 1
    return [begin]


def _announced(pages: Pages, first: int, header: int, payload: int, guessed: bool) -> bool:
    """Whether the byte before the types is the header's size, or was overwritten by a free block's head.

    Such a head is four bytes and ends with the block's size, which is that of the row's cell or more.
    """
    if not guessed and pages.data[first - 1] == header:
        return True
    local = pages.local(payload)
    cell = (2 if guessed else 3) + local + (4 if local < payload else 0)
    end = first + 1 if guessed else first
    return end >= 4 and int.from_bytes(pages.data[end - 2 : end], "big") >= cell


def _fits(kind: int, column: Column) -> bool:
    if kind == 0:
        return True
    if kind <= 6 or kind in (8, 9):
        return "i" in column.classes
    if kind == 7:
        return "r" in column.classes
    return kind >= 12 and ("t" if kind % 2 else "b") in column.classes


def _size(kind: int) -> int:
    return (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0)[kind] if kind < 12 else (kind - 12) // 2


def _value(kind: int, raw: bytes) -> Any:
    if kind in (0, 8, 9):
        return {0: None, 8: 0, 9: 1}[kind]
    if kind <= 6:
        return int.from_bytes(raw, "big", signed=True)
    if kind == 7:
        import struct

        return struct.unpack(">d", raw)[0]
    return raw.decode("utf-8", errors="replace") if kind % 2 else raw
