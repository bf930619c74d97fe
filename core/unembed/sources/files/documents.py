"""JSON and JSONL: lists, objects, pandas' tables by column, OpenAI's responses and batches."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from unembed.errors import InputError
from unembed.sources.cells import vector_like
from unembed.sources.files.text import open_text
from unembed.sources.records import SourceContents, SourceRequest
from unembed.sources.rows import FIELDS, Row, batches_of, choose, id_field, listed, text_field

__all__ = ["documents", "open_json", "open_jsonl"]

_SAMPLE = 32
_DEPTH = 8
_PIECE = 1 << 20


def open_jsonl(place: str, request: SourceRequest) -> SourceContents:
    """A .jsonl file: a vector a line, or an object that holds one, or an answer of OpenAI's batches."""

    def lines() -> Iterator[Any]:
        first = True
        with open_text(place) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    found = _parsed(line)
                    if first and isinstance(found, _BadJson) and not line.lstrip().startswith(("{", "[")):
                        raise InputError(f"{place}, line {number} isn't JSON{found.reason.removeprefix('isn’t JSON')}")
                    first = False
                    yield found

    return SourceContents("a JSONL file", lambda size: batches_of(documents(lines(), place, request), size, request))


def open_json(place: str, request: SourceRequest) -> SourceContents:
    """A .json file: a list is read piece by piece, an object (a table by column, a response) at once."""
    with open_text(place) as file:
        start = file.read(4096).lstrip()[:1]
    if start == "[":
        return SourceContents(
            "a JSON list", lambda size: batches_of(documents(_elements(place), place, request), size, request)
        )
    return SourceContents(
        "a JSON object", lambda size: batches_of(documents(_of_object(place), place, request), size, request)
    )


class _BadJson:
    """A line or element that can't be parsed, and why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        return _BadJson("isn't JSON that can be read: it is nested too deep")
    except ValueError as error:
        return _BadJson(f"isn't JSON: {str(error).split(':')[0]}")


def _elements(place: str) -> Iterator[Any]:
    """The elements of a list, parsed as they come, the text of a few at a time in memory."""
    decoder = json.JSONDecoder()
    with open_text(place) as file:
        buffer, at, ended = file.read(_PIECE), 0, False
        at = _skip(buffer, 0, "") + 1
        while True:
            at = _skip(buffer, at, ",")
            if at < len(buffer) and buffer[at] == "]":
                return
            try:
                found, end = decoder.raw_decode(buffer, at)
                if end == len(buffer) and not ended:  # a number may go on in the next piece
                    raise json.JSONDecodeError("cut", buffer, end)
            except RecursionError as error:
                raise InputError(f"{place} is nested too deep to be read") from error
            except ValueError as error:
                if ended:
                    where = f"character {error.pos}" if isinstance(error, json.JSONDecodeError) else str(error)
                    raise InputError(f"{place} isn't JSON, or is cut: {where} after its last whole element") from error
                more = file.read(max(_PIECE, len(buffer) - at))
                ended = not more
                buffer, at = buffer[at:] + more, 0
                continue
            yield found
            at = end


def _skip(text: str, at: int, more: str) -> int:
    while at < len(text) and text[at] in " \t\r\n" + more:
        at += 1
    return at


def _of_object(place: str) -> Iterator[Any]:
    """The records of a JSON object: itself, or its columns turned into rows."""
    with open_text(place) as file:
        text = file.read()
    found = _parsed(text)
    if isinstance(found, _BadJson):
        raise InputError(f"{place} {found.reason}")
    if not isinstance(found, dict):
        raise InputError(f"{place} holds a {type(found).__name__}, not a list or object of vectors")
    yield from _turned(found)


def _turned(found: Mapping[str, Any]) -> Iterator[Any]:
    values = list(found.values())
    if values and all(isinstance(value, dict) for value in values):
        if _keyed_alike(values):  # {"id": {"0": …}, "embedding": {"0": …}}
            keys = dict.fromkeys(key for column in values for key in column)
            order = sorted(keys, key=int) if all(key.lstrip("-").isdigit() for key in keys) else list(keys)
            for key in order:
                yield {name: column.get(key) for name, column in found.items()}
            return
        if not any(name in FIELDS for name in found):  # {"rec-1": {"embedding": …}, …}
            yield from ({"id": key, **value} for key, value in found.items())
            return
    lists = {name: value for name, value in found.items() if isinstance(value, list)}
    columns = {
        name: value for name, value in lists.items() if value and vector_like(value[0]) and not vector_like(value)
    }
    if columns and len({len(value) for value in columns.values()}) == 1:  # {"ids": […], "embeddings": [[…], …]}
        count = len(next(iter(columns.values())))
        parts = {name: value for name, value in lists.items() if len(value) == count}
        for place in range(count):
            yield {name: value[place] for name, value in parts.items()}
        return
    widths = [vector_like(value) for value in values]
    if len(values) > 1 and all(widths) and not any(name in FIELDS for name in found):  # {"rec-1": […], "rec-2": […]}
        yield from ({"id": key, "vector": value} for key, value in found.items())
        return
    yield found


def _keyed_alike(columns: Sequence[Mapping[str, Any]]) -> bool:
    """Whether objects are columns with the same keys, of which one holds the vectors, and not records by their ids."""
    first = set(columns[0])
    if not first or not all(set(column) <= first or first <= set(column) for column in columns):
        return False
    of_vectors = [all(map(vector_like, islice(column.values(), 3))) for column in columns]
    return all(key.isdigit() for key in first) or (any(of_vectors) and not all(of_vectors))


def documents(records: Iterator[Any], place: str, request: SourceRequest) -> Iterator[Row]:
    """Rows of parsed JSON: where the vector lies (`response.body.data[].embedding`) is told from the first records."""
    first = list(islice(records, _SAMPLE))
    path = _path(first, place, request)
    for record in chain(first, records):
        if isinstance(record, _BadJson):
            yield Row(None, trouble=record.reason)
        elif path is None:
            yield Row(record) if isinstance(record, list) else Row(None, trouble="isn't a list of numbers")
        elif not isinstance(record, dict):
            yield Row(None, trouble="isn't an object as the others are")
        else:
            yield from _found(record, path, request)


def _path(first: Sequence[Any], place: str, request: SourceRequest) -> list[str] | None:
    """The way to the vector, split at its dots; None where each record is the vector."""
    objects = [record for record in first if isinstance(record, dict)]
    if not objects:
        return None
    paths: dict[str, int] = {}
    for record in objects[:8]:
        for path, width in _paths(record, "", _DEPTH):
            paths.setdefault(path, width)
    names = list(dict.fromkeys(key for record in objects for key in record))
    if request.column is None:
        short = {path.rpartition(".")[2]: path for path in paths}
        if len(paths) > 1 and len(short) == len(paths):
            widths = {name: paths[path] for name, path in short.items()}
            return short[choose(place, "field", widths, names, request)].split(".")
        return choose(place, "field", paths, names, request).split(".")
    asked = request.column
    if asked in paths or asked in names:
        return asked.split(".") if asked in paths else [asked]
    plain = {path.replace("[]", ""): path for path in paths}
    inner = [path for name, path in plain.items() if name == asked or name.startswith(f"{asked.replace('[]', '')}.")]
    if len(inner) == 1:
        return inner[0].split(".")
    if "." in asked and any(_reach(record, asked.split(".")) is not None for record in objects):
        return asked.split(".")
    raise InputError(f"{place} has no field {asked!r}; it has {listed(list(paths) or names)}")


def _paths(value: Any, prefix: str, depth: int) -> Iterator[tuple[str, int]]:
    """Every way to something like a vector, with its width."""
    if not isinstance(value, dict) or depth == 0:
        return
    for key, inner in value.items():
        name = f"{prefix}{key}"
        width = vector_like(inner)
        if width:
            yield name, width
        elif isinstance(inner, dict):
            yield from _paths(inner, f"{name}.", depth - 1)
        elif isinstance(inner, list) and inner and isinstance(inner[0], dict):
            yield from _paths(inner[0], f"{name}[].", depth - 1)


def _reach(record: Any, path: Sequence[str]) -> Any:
    for key in path:
        if not isinstance(record, dict) or key.removesuffix("[]") not in record:
            return None
        record = record[key.removesuffix("[]")]
    return record


def _found(record: Mapping[str, Any], path: Sequence[str], request: SourceRequest) -> Iterator[Row]:
    """The rows of one record: one, or one for each element of a list on the way."""
    parents: list[Mapping[str, Any]] = [record]
    inner: Any = record
    for place, key in enumerate(path[:-1]):
        name = key.removesuffix("[]")
        inner = inner.get(name) if isinstance(inner, dict) else None
        if key.endswith("[]"):
            if not isinstance(inner, list):
                yield Row(None, _identity(parents, path[-1]), trouble=f"has no list {name!r}")
                return
            for number, element in enumerate(inner):
                outer = _identity(parents, "")
                for row in _found(element if isinstance(element, dict) else {}, path[place + 1 :], request):
                    several = outer if len(inner) == 1 else f"{outer}:{number}" if outer else None
                    yield replace(row, id=row.id or several)
            return
        if isinstance(inner, dict):
            parents.append(inner)
    last = parents[-1] if isinstance(inner, dict) else {}
    name = path[-1]
    text = next((t for p in reversed(parents) if (t := _text(p, name)) is not None), None)
    rest = {key: value for key, value in record.items() if key != path[0] and not vector_like(value)}
    yield Row(
        last.get(name),
        _identity(parents, name),
        text,
        (rest or None) if request.payloads else None,
        trouble=None if name in last else f"has no {'.'.join(path)!r}",
    )


def _identity(parents: Sequence[Mapping[str, Any]], vector: str) -> str | None:
    for parent in reversed(parents):
        custom = parent.get("custom_id")
        name = "custom_id" if custom else id_field(parent, vector)
        value = parent.get(name) if name else None
        if isinstance(value, str | int) and value != "":
            return str(value)
    return None


def _text(parent: Mapping[str, Any], vector: str) -> str | None:
    name = text_field([key for key, value in parent.items() if isinstance(value, str)], vector)
    return parent.get(name) or None if name else None
