"""What the readers of servers share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from unembed.errors import InputError
from unembed.sources.places import shown
from unembed.sources.records import RecordBatch, SourceContents, SourceRequest
from unembed.sources.rows import Row, batches_of, listed, text_field

__all__ = ["chosen", "contents", "split_text"]

_PAGE = 256


def chosen(place: str, names: Sequence[str], request: SourceRequest, what: str = "collection") -> list[str]:
    """The collections to read: all, or the one asked for; raises InputError."""
    if request.collection is None:
        if not names:
            raise InputError(f"{shown(place)} has no {what}s")
        return sorted(names)
    if request.collection not in names:
        raise InputError(f"{shown(place)} has no {what} {request.collection!r}; it has {listed(sorted(names))}")
    return [request.collection]


def contents(
    kind: str,
    rows: Callable[[int], Iterator[Row]],
    request: SourceRequest,
    names: Sequence[str],
    count: int | None,
    notes: Sequence[str] = (),
) -> SourceContents:
    """A source of rows that are asked for page by page."""

    def read(size: int) -> Iterator[RecordBatch]:
        return batches_of(rows(min(size, _PAGE)), size, request)

    return SourceContents(kind, read, count, tuple(names), tuple(notes))


def split_text(payload: Any) -> tuple[str | None, dict[str, Any] | None]:
    """The text that was embedded, as far as its field's name tells, and the rest of a payload."""
    if not isinstance(payload, Mapping):
        return None, None
    rest = dict(payload)
    name = text_field([key for key, value in rest.items() if isinstance(value, str)], "")
    text = rest.pop(name) if name is not None else None
    return text or None, rest or None
