"""What the stores plugin offers. Readers and their libraries wait until a store is opened."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from unembed.registry.extras import needs_extra
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
        SourceSpec("lance", "LanceDB: a folder, or one table of it", r.is_lance, _reader("lance", "lance")),
        SourceSpec("duckdb", "a DuckDB file", r.is_duckdb, _reader("duckdb", "duckdb")),
        SourceSpec("faiss", "a FAISS index, or LangChain's folder of one", r.is_faiss, _reader("faiss", "faiss")),
        SourceSpec("hdf5", "an HDF5 file", r.is_hdf5, _reader("hdf5", "hdf5")),
    ]


_LIBRARIES = {"lance": "lance", "duckdb": "duckdb", "faiss": "faiss", "hdf5": "h5py", "postgres": "psycopg"}


def _reader(module: str, extra: str | None = None) -> "Callable[[str, SourceRequest], SourceContents]":
    """The module's `open_store`, imported when it is first called; an `extra` is named where its library is missing."""
    reader = partial(_open, module)
    if extra is None:
        return reader
    return needs_extra(extra, f"{module} stores need", {_LIBRARIES[extra]})(reader)


def _open(module: str, place: str, request: "SourceRequest") -> "SourceContents":
    found: SourceContents = import_module(f"unembed_stores.{module}").open_store(place, request)
    return found
