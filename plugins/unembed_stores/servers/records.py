"""What the readers of servers share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import Any

from unembed.errors import InputError, ServiceError
from unembed.sources.places import shown
from unembed.sources.records import RecordBatch, SourceContents, SourceRequest
from unembed.sources.rows import Row, batches_of, listed, text_field

__all__ = ["chosen", "contents", "split_text", "understood"]

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


Opened = Callable[[str, SourceRequest], SourceContents]


def understood(kind: str) -> Callable[[Opened], Opened]:
    """A decorator of openers: an answer in another form than `kind` gives is a ServiceError that says so."""

    def wrapped(opener: Opened) -> Opened:
        @wraps(opener)
        def opened(place: str, request: SourceRequest) -> SourceContents:
            with _understanding(place, kind):
                found = opener(place, request)

            def read(size: int) -> Iterator[RecordBatch]:
                with _understanding(place, kind):
                    yield from found.read(size)

            return replace(found, read=read)

        return opened

    return wrapped


@contextmanager
def _understanding(place: str, kind: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ServiceError(f"{shown(place)} answered in another form than {kind} does; is it {kind}?") from error


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
