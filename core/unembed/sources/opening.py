"""`open_source`: vectors from any file, store or server, through one contract."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unembed.errors import InputError, UnknownNameError
from unembed.registry.discovery import offers, plugins, several
from unembed.registry.specs import SourceSpec
from unembed.sources.files import ENDINGS, reader_of
from unembed.sources.places import shown
from unembed.sources.records import SourceContents, SourceRequest
from unembed.sources.source import Source

__all__ = ["looks_like_source", "open_source"]


def open_source(
    place: str | Path,
    column: str | None = None,
    *,
    collection: str | None = None,
    width: int | None = None,
    deleted: bool = True,
    payloads: bool = True,
    strict: bool = False,
    undo: bool = True,
    ranges: NDArray[np.floating] | None = None,
) -> Source:
    """Open a file, folder, database or server URL that holds vectors; nothing is ever written to it.

    The kind of `place` is told from its first bytes, its ending or what a folder holds; `KIND:PLACE` names it
    (`chroma:./db`, `qdrant:http://localhost:6333`). `column` is the array, column, tensor or field of the vectors,
    `collection` the collection, table, group or index; `width` chooses among columns that differ in it. With `deleted`
    records that were deleted but whose vectors are still there are read too, and marked. Without `payloads` only ids
    and vectors are read. A bad row is skipped and counted; with `strict` it raises InputError, which names it. Codes of
    eight bits, packed signs and padding beyond `width` are undone, and `notes` say so, unless `undo` is false; `ranges`
    `[2, D]`, lowest and highest of each dimension, turn codes of such ranges back into numbers.

    Raises InputError for what can't be read and MissingExtraError where a store's library isn't installed.

    Examples:
        >>> import numpy as np
        >>> import unembed
        >>> np.save("vectors.npy", np.random.default_rng(0).normal(size=(5, 384)).astype("float32"))
        >>> source = unembed.open_source("vectors.npy")
        >>> for batch in source.batches(size=2):
        ...     print(batch.ids, batch.vectors.shape)
        ['0', '1'] (2, 384)
        ['2', '3'] (2, 384)
        ['4'] (1, 384)
    """
    where = os.fspath(place)
    request = SourceRequest(column, collection, width, deleted, payloads)
    return Source(shown(where), _contents(where, request), request, strict=strict, undo=undo, ranges=ranges)


def looks_like_source(where: str) -> bool:
    """Whether this names a file or folder here that may hold vectors."""
    try:
        if not os.path.exists(where):
            return False
        known = offers("sources").values()
        return any(owners[0][1].recognises(where) for owners in known) or reader_of(where) is not None
    except InputError:  # a pickle: of vectors, too, but refused
        return True
    except (OSError, ValueError):  # a text that no file can be called
        return False


def _contents(where: str, request: SourceRequest) -> SourceContents:
    kind, mark, rest = where.partition(":")
    known = offers("sources")
    if mark and kind in known:
        return _spec(kind).open(rest, request)
    if "://" not in where:
        _check_present(where)
    found = next((name for name, owners in known.items() if owners[0][1].recognises(where)), None)
    if found is not None:
        return _spec(found).open(where, request)
    if "://" in where:
        raise InputError(
            f"no kind of source reads {shown(where)}; known: {', '.join(known) or 'files alone'}; name one, as in "
            f"qdrant:URL"
        )
    try:
        reader = reader_of(where)
    except OSError as error:
        raise InputError(f"{shown(where)} can't be read: {error.strerror}") from error
    if reader is None:
        raise InputError(_unknown(where, list(known)))
    try:
        return reader(where, request)
    except OSError as error:
        raise InputError(f"{shown(where)} can't be read: {error.strerror or error}") from error


def _spec(name: str) -> SourceSpec:
    owners = offers("sources").get(name, [])
    if not owners:
        raise UnknownNameError(f"no kind of source {name!r}")
    if len(owners) > 1:
        raise several("sources", name, [info for info, _ in owners])
    spec: SourceSpec = owners[0][1]
    return spec


def _check_present(where: str) -> None:
    name = shown(where)
    try:
        present = os.path.lexists(where)
        length = max(len(part.encode(errors="surrogateescape")) for part in where.split(os.sep))
    except ValueError as error:  # a zero byte in the name
        raise InputError(f"no file {name!r}") from error
    if length > 255 and not present:
        raise InputError(f"no file {name}: its name is {length} bytes long, more than a name can have")
    if not present or not os.path.exists(where):
        raise InputError(f"no file {name}")
    if not os.path.isdir(where):
        if not os.path.isfile(where):
            raise InputError(f"{name} is a device or a pipe; give a file or a folder")
        if not os.path.getsize(where):
            raise InputError(f"{name} is empty")


def _unknown(where: str, known: list[str]) -> str:
    broken = [info.name for info in plugins() if info.error is not None]
    hint = f"; plugins that failed to load: {', '.join(broken)} (see `unembed plugins`)" if broken else ""
    stores = f", and stores: {', '.join(known)}" if known else ""
    if os.path.isdir(where):
        return (
            f"{shown(where)} is a folder without a known store in it; read are folders of Parquet or Arrow "
            f"files{stores}{hint}"
        )
    ending = os.path.splitext(where)[1]
    return f"{shown(where)}: vectors come from {', '.join(sorted(ENDINGS))} files{stores}, not {ending!r}{hint}"
