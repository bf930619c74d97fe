"""From rows one by one to batches: which field holds the vector, the id and the text, for any row-wise source."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unembed.errors import InputError
from unembed.sources.cells import BadCellError, decode_cell, shortened, vector_like
from unembed.sources.records import RecordBatch, SkippedRow, SourceRequest

__all__ = ["FIELDS", "Fields", "Row", "batches_of", "choose", "id_field", "listed", "reading", "rows_of", "text_field"]

FIELDS = ("embedding", "vector", "embeddings", "vectors")
_IDS = (
    "id", "_id", "uuid", "ids", "point_id", "record_id", "custom_id", "doc_id", "document_id", "chunk_id", "key", "pk",
    "rowid", "name",
)  # fmt: skip
_TEXTS = (
    "text", "document", "content", "chunk", "page_content", "body", "passage", "sentence", "chunk_text", "input",
    "documents", "texts", "sentences", "chroma:document", "_node_content", "answer", "question", "title",
)  # fmt: skip
_SAMPLE = 32


@dataclass(frozen=True)
class Row:
    """One row as a reader finds it; `cell` is anything that `decode_cell` takes, `trouble` why there is none."""

    cell: Any
    id: str | None = None
    text: str | None = None
    payload: Mapping[str, Any] | None = None
    collection: str | None = None
    deleted: bool = False
    trouble: str | None = None


@dataclass
class _Open:
    """Rows of one collection that wait for their batch."""

    rows: list[Row] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


def batches_of(rows: Iterable[Row], size: int, request: SourceRequest) -> Iterator[RecordBatch]:
    """Rows as batches of at most `size`, each of one collection and one width; the odd ones are skipped.

    A collection's width is the one asked for, if any of its first rows has it, else the commonest among these.
    """
    waiting = _Open()
    widths: dict[str | None, int] = {}
    blobs: dict[str | None, str] = {}
    for number, row in enumerate(rows):
        if waiting.rows and (len(waiting.rows) >= size or row.collection != waiting.rows[0].collection):
            yield _packed(waiting, widths, blobs, request)
            waiting = _Open()
        waiting.rows.append(row)
        waiting.numbers.append(number)
    if waiting.rows:
        yield _packed(waiting, widths, blobs, request)


def _packed(
    waiting: _Open, widths: dict[str | None, int], blobs: dict[str | None, str], request: SourceRequest
) -> RecordBatch:
    collection = waiting.rows[0].collection
    found: list[NDArray[Any] | str] = []
    notes: dict[str, None] = {}
    for row in waiting.rows:
        width = widths.get(collection, request.width)
        try:
            if row.trouble is not None:
                raise BadCellError(row.trouble)
            vector, note = decode_cell(row.cell, width=width, blob=blobs.get(collection))
            if note:
                notes[note] = None
                if "little-endian" in note:
                    blobs.setdefault(collection, note.rpartition(" ")[2])
            found.append(vector)
        except BadCellError as error:
            found.append(str(error))
    seen = Counter(len(vector) for vector in found if not isinstance(vector, str))
    if collection not in widths and seen:
        asked = request.width if request.width in seen else None
        widths[collection] = asked or seen.most_common(1)[0][0]
    wanted = widths.get(collection, 0)
    good: list[int] = []
    skipped = []
    for place, value in enumerate(found):
        reason = value if isinstance(value, str) else ""
        if not isinstance(value, str) and len(value) != wanted:
            reason = f"is {len(value)} wide, the others {wanted}"
        if reason:
            number = waiting.numbers[place]
            skipped.append(SkippedRow(number, _name(waiting.rows[place], number), reason))
        else:
            good.append(place)
    kept = [waiting.rows[place] for place in good]
    numbers = [waiting.numbers[place] for place in good]
    vectors = np.empty((len(good), wanted), np.float32)
    with np.errstate(over="ignore"):
        for line, place in enumerate(good):
            vectors[line] = found[place]
    return RecordBatch(
        ids=[_name(row, number) for row, number in zip(kept, numbers, strict=True)],
        vectors=vectors,
        rows=np.array(numbers, dtype=np.int64),
        texts=[row.text for row in kept] if any(row.text is not None for row in kept) else None,
        payloads=[row.payload for row in kept] if any(row.payload for row in kept) else None,
        collection=collection,
        deleted=np.array([row.deleted for row in kept], dtype=bool),
        skipped=tuple(skipped),
        notes=tuple(notes),
    )


def _name(row: Row, number: int) -> str:
    return str(number) if row.id is None else row.id


@dataclass(frozen=True)
class Fields:
    """Which field of a row is what."""

    vector: str
    id: str | None = None
    text: str | None = None


def rows_of(
    records: Iterable[Mapping[str, Any] | str],
    place: str,
    request: SourceRequest,
    *,
    kind: str = "column",
    collection: str | None = None,
) -> Iterator[Row]:
    """Rows of records whose fields are told from the first few; a record that is a text is why there is none."""
    records = iter(records)
    first = list(islice(records, _SAMPLE))
    sample = [record for record in first if not isinstance(record, str)]
    if not sample:
        for record in chain(first, records):
            yield Row(None, trouble=str(record), collection=collection)
        return
    fields = _fields(sample, place, request, kind)
    for record in chain(first, records):
        if isinstance(record, str):
            yield Row(None, trouble=record, collection=collection)
        else:
            yield _row(record, fields, request, collection)


def _row(record: Mapping[str, Any], fields: Fields, request: SourceRequest, collection: str | None) -> Row:
    found = record.get(fields.id) if fields.id is not None else None
    text = record.get(fields.text) if fields.text is not None else None
    used = (fields.vector, fields.id, fields.text)
    rest = {key: value for key, value in record.items() if key not in used} if request.payloads else None
    trouble = None if fields.vector in record else f"has no {fields.vector!r}"
    return Row(
        record.get(fields.vector),
        None if found is None or found == "" else str(found),
        text if isinstance(text, str) and text else None,
        rest or None,
        collection,
        trouble=trouble,
    )


def _fields(sample: Sequence[Mapping[str, Any]], place: str, request: SourceRequest, kind: str) -> Fields:
    names = list(dict.fromkeys(key for record in sample for key in record))
    if request.column is not None:
        if request.column not in names:
            raise InputError(f"{place} has no {kind} {request.column!r}; it has {listed(names)}")
        vector = request.column
    else:
        vector = choose(place, kind, _widths(sample, names), names, request)
    texts = {name for name in names if any(isinstance(record.get(name), str) for record in sample)}
    return Fields(vector, id_field(names, vector), text_field([name for name in names if name in texts], vector))


def _widths(sample: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, int]:
    """The fields that hold vectors, each with its width: lists as long in most rows."""
    found = {}
    for name in names:
        seen = Counter(filter(None, (vector_like(record.get(name)) for record in sample[:8])))
        if seen and (len(seen) == 1 or seen.most_common(1)[0][1] > sum(seen.values()) / 2):
            found[name] = seen.most_common(1)[0][0]
    return found


def choose(
    place: str, kind: str, widths: Mapping[str, int], names: Sequence[str], request: SourceRequest, *, hint: str = ""
) -> str:
    """The one field of vectors that can be meant: the only one, the one as wide as asked, or one called embedding.

    `widths` are the fields that hold vectors (0 where the width isn't known); raises InputError.
    """
    if not widths:
        empty = [name for name in FIELDS if name in names]
        if empty:
            return empty[0]
        raise InputError(f"{place} has no {kind} of vectors; it has {listed(names)}{hint}")
    fitting = [name for name, width in widths.items() if width == request.width] if request.width is not None else []
    several = fitting or list(widths)
    if len(several) == 1:
        return several[0]
    named = [name for name in FIELDS if name in several]
    if named:
        return named[0]
    raise InputError(f"{place} has several {kind}s ({listed(several)}); say which (--column NAME)")


def id_field(names: Iterable[str], vector: str) -> str | None:
    """The field that names a record, by its own name, or None."""
    return _known(names, vector, _IDS)


def text_field(names: Iterable[str], vector: str) -> str | None:
    """The field that holds what was embedded, by its own name, or None."""
    return _known(names, vector, _TEXTS)


def _known(names: Iterable[str], vector: str, known: Sequence[str]) -> str | None:
    """Beside a nested vector, the names of its neighbours come first."""
    parent = vector.rpartition(".")[0]
    lower = {name.lower(): name for name in names if name != vector}
    for prefix in [f"{parent.lower()}.", ""] if parent else [""]:
        for name in known:
            if prefix + name in lower:
                return lower[prefix + name]
    return None


def listed(names: Sequence[str], most: int = 12) -> str:
    """Names for a message: the first few, and how many more there are."""
    shown = ", ".join(shortened(name, 40) for name in names[:most]) or "none"
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


@contextmanager
def reading(place: str, kind: str, *errors: type[BaseException]) -> Iterator[None]:
    """Turns a library's errors into an InputError of one line that names the file."""
    try:
        yield
    except InputError:
        raise
    except errors as error:
        said = shortened(str(error) or type(error).__name__, 160)
        raise InputError(f"{place} isn't a readable {kind}, or is damaged: {said}") from error
