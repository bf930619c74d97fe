"""SQL dumps: PostgreSQL's COPY and everybody's INSERT, read statement by statement."""

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import IO, Any

from unembed.errors import InputError
from unembed.sources.cells import shortened, vector_like
from unembed.sources.files.text import open_text
from unembed.sources.records import SourceContents, SourceRequest
from unembed.sources.rows import Row, batches_of, listed, rows_of

__all__ = ["open_sql"]

_NAME = r"(?:[\w$]+|\"(?:[^\"]|\"\")+\"|`[^`]+`|\[[^\]]+\])"
_TABLE = rf"((?:{_NAME}\.)?{_NAME})"
_COPY = re.compile(rf"COPY\s+{_TABLE}\s*(?:\((.*?)\))?\s+FROM\s+stdin", re.IGNORECASE | re.DOTALL)
_INSERT = re.compile(
    rf"INSERT\s+(?:OR\s+\w+\s+|IGNORE\s+)?INTO\s+{_TABLE}\s*(?:\(([^()]*)\))?\s*VALUES\s*", re.IGNORECASE
)
_CREATE = re.compile(rf"CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_TABLE}\s*\(", re.IGNORECASE)
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_TYPE = r"""(?:::[\w."]+(?:\([\d,\s]*\))?(?:\[\])*)?"""  # a cast, as in ::vector(384) or ::real[]
_TOKEN = re.compile(
    rf"""\s*(?: [EeNn]?'((?:[^'\\]|\\.|'')*)'{_TYPE} | [Xx]'([0-9a-fA-F]*)' | 0x([0-9a-fA-F]+)
    | ARRAY\s*(\[[^\]]*\]){_TYPE} | vec_f32\('([^']*)'\) | ([-+]?[\w.+-]+){_TYPE} )\s*([,)])""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_LONGEST = 64_000_000
Record = tuple[str, Mapping[str, Any] | str]


def open_sql(place: str, request: SourceRequest) -> SourceContents:
    """A .sql dump; its tables that hold vectors are its collections."""
    tables = _tables_of_vectors(place, request)

    def rows() -> Iterator[Row]:
        for table, part in groupby(_records(place), key=lambda found: found[0]):
            if table in tables:
                yield from rows_of((record for _, record in part), f"{place}, table {table}", request, collection=table)

    return SourceContents("an SQL dump", lambda size: batches_of(rows(), size, request), collections=tuple(tables))


def _tables_of_vectors(place: str, request: SourceRequest) -> list[str]:
    """Tables of which one of the first rows holds something like a vector; raises InputError where there is none."""
    seen: dict[str, int] = {}
    found: list[str] = []
    for table, record in _records(place):
        seen[table] = seen.get(table, 0) + 1
        if table in found or seen[table] > 50 or isinstance(record, str):
            continue
        if request.column in record or any(map(vector_like, record.values())):
            found.append(table)
    if request.collection is not None:
        asked = [table for table in seen if request.collection in (table, table.rpartition(".")[2])]
        if not asked:
            raise InputError(f"{place} has no table {request.collection!r} with rows; it has {listed(list(seen))}")
        return asked
    if not found:
        raise InputError(f"{place} has no table with vectors; tables with rows: {listed(list(seen))}")
    return found


def _records(place: str) -> Iterator[Record]:
    """Every row of every table, in the dump's order."""
    columns: dict[str, list[str]] = {}
    with open_text(place) as file:
        statement = ""
        for line in file:
            if not statement and (not line.strip() or line.startswith(("--", "/*", "\\"))):
                continue
            statement += line
            if len(statement) > _LONGEST:
                raise InputError(f"{place} holds a statement of more than {_LONGEST:,} characters; is it a dump?")
            if not _complete(statement):
                continue
            text, statement = statement.strip(), ""
            copied, inserted, created = _COPY.match(text), _INSERT.match(text), _CREATE.match(text)
            if copied:
                table = _plain(copied[1])
                names = _names(copied[2]) if copied[2] else columns.get(table, [])
                yield from ((table, record) for record in _copied(place, file, names))
            elif inserted:
                table = _plain(inserted[1])
                names = _names(inserted[2]) if inserted[2] else columns.get(table, [])
                yield from ((table, record) for record in _inserted(text[inserted.end() :], names))
            elif created:
                columns[_plain(created[1])] = _declared(text[created.end() :])


def _complete(statement: str) -> bool:
    """Whether it ends with a semicolon outside quotes."""
    return statement.rstrip().endswith(";") and statement.replace("\\'", "").count("'") % 2 == 0


def _plain(name: str) -> str:
    return re.sub(r'["`\[\]]', "", name)


def _names(text: str) -> list[str]:
    return [_plain(part.strip()) for part in text.split(",")]


def _declared(body: str) -> list[str]:
    """The names of the columns of a CREATE TABLE statement."""
    parts = re.split(r",(?![^()]*\))", body[: body.rindex(")")] if ")" in body else body)
    names = [_plain(found[0]) for part in parts if (found := re.match(_NAME, part.strip()))]
    return [
        name for name in names if name.upper() not in ("PRIMARY", "UNIQUE", "CONSTRAINT", "FOREIGN", "KEY", "CHECK")
    ]


def _copied(place: str, file: IO[str], names: list[str]) -> Iterator[Mapping[str, Any] | str]:
    for line in file:
        line = line.rstrip("\n")
        if line == "\\.":
            return
        cells = [None if cell == "\\N" else _ESCAPE.sub(_unescaped, cell) for cell in line.split("\t")]
        keys = names or [f"column{place}" for place in range(len(cells))]
        yield (
            dict(zip(keys, cells, strict=True))
            if len(cells) == len(keys)
            else (f"has {len(cells)} cells, its table {len(keys)}")
        )
    raise InputError(f"{place} is cut: it ends within the rows of a table")


def _unescaped(found: re.Match[str]) -> str:
    if found[1] or found[2]:
        return chr(int(found[1] or found[2], 8 if found[1] else 16))
    return _LETTERS.get(found[3], found[3]) if found[3] != "x" else "\\x"


def _inserted(text: str, names: list[str]) -> Iterator[Mapping[str, Any] | str]:
    """The tuples of an INSERT statement."""
    at = 0
    while (at := text.find("(", at)) >= 0:
        at += 1
        cells: list[Any] = []
        while True:
            found = _TOKEN.match(text, at)
            if found is None:
                yield f"holds SQL that can't be read: {shortened(text[at : at + 40])}"
                return
            cells.append(_value(found))
            at = found.end()
            if found[7] == ")":
                break
        keys = names or [f"column{place}" for place in range(len(cells))]
        yield (
            dict(zip(keys, cells, strict=True))
            if len(cells) == len(keys)
            else (f"has {len(cells)} values, its table {len(keys)} columns")
        )


def _value(found: re.Match[str]) -> Any:
    text, hexed, other, array, vector, word = found.groups()[:6]
    if text is not None:
        text = text.replace("''", "'")
        return _ESCAPE.sub(_unescaped, text) if "\\" in text and not text.startswith("\\x") else text
    if hexed is not None or other is not None:
        raw = hexed if hexed is not None else other
        return bytes.fromhex(raw) if len(raw) % 2 == 0 else raw
    if array is not None or vector is not None:
        return array if array is not None else vector
    return None if word.upper() == "NULL" else word
