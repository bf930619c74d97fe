"""What the stores plugin offers. Readers and their libraries wait until a store is opened."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from unembed.registry.hooks import hookimpl
from unembed.registry.specs import SourceSpec
from unembed_stores import recognising as r

if TYPE_CHECKING:
    from unembed.sources.records import SourceContents, SourceRequest


@hookimpl
def register_sources() -> list[SourceSpec]:
    return [
        SourceSpec("chroma", "Chroma's folder, 0.4 to 1.x, deleted records too", r.is_chroma, _reader("chroma.store")),
        SourceSpec(
            "sqlite", "a SQLite file: sqlite-vec, llm's embeddings, any table", r.is_sqlite, _reader("sqlite.store")
        ),
        SourceSpec("qdrant-local", "Qdrant's local mode, a folder", r.is_qdrant_local, _reader("qdrant_local")),
    ]


def _reader(module: str) -> "Callable[[str, SourceRequest], SourceContents]":
    return partial(_open, module)


def _open(module: str, place: str, request: "SourceRequest") -> "SourceContents":
    found: SourceContents = import_module(f"unembed_stores.{module}").open_store(place, request)
    return found
