"""What the stores plugin offers. Readers and their libraries wait until a store is opened."""

from typing import TYPE_CHECKING

from unembed.registry.hooks import hookimpl
from unembed.registry.lazy import Lazy, lazy
from unembed.registry.specs import SourceSpec
from unembed_stores import recognising as r

if TYPE_CHECKING:
    from unembed.sources.records import SourceContents, SourceRequest


@hookimpl
def register_sources() -> list[SourceSpec]:
    sqlite = lazy("unembed_stores.sqlite.store:open_store")
    return [
        SourceSpec("chroma", "Chroma: its folder (0.4 to 1.x), or chroma:URL of a server", r.is_chroma, _chroma),
        SourceSpec("qdrant", "Qdrant: a folder of its local mode, or a server's URL", r.is_qdrant, _qdrant),
        SourceSpec("sqlite", "SQLite: sqlite-vec, llm's embeddings, any table", r.is_sqlite, sqlite),
        SourceSpec("lance", "LanceDB: a folder, or one table of it", r.is_lance, _with("lance", "lance")),
        SourceSpec("duckdb", "a DuckDB file", r.is_duckdb, _with("duckdb", "duckdb")),
        SourceSpec("faiss", "a FAISS index, or LangChain's folder of one", r.is_faiss, _with("faiss", "faiss")),
        SourceSpec("hdf5", "an HDF5 file", r.is_hdf5, _with("hdf5.reading", "h5py")),
        SourceSpec("postgres", "PostgreSQL with pgvector, by its URL", r.is_postgres, _with("postgres", "psycopg")),
        SourceSpec("weaviate", "a Weaviate server, weaviate:URL", r.is_weaviate, _server("weaviate")),
        SourceSpec("pinecone", "a Pinecone index, by its URL", r.is_pinecone, _server("pinecone")),
        SourceSpec("milvus", "a Milvus server, milvus:URL", r.is_milvus, _server("milvus")),
        SourceSpec(
            "elasticsearch", "Elasticsearch or OpenSearch, by its URL", r.is_elasticsearch, _server("elasticsearch")
        ),
    ]


def _with(module: str, library: str) -> Lazy:
    """A reader that needs the extra of its name; where its library is missing, that is said."""
    missing = f"this store needs an extra: pip install 'unembed[{module.partition('.')[0]}]'"
    return lazy(f"unembed_stores.{module}:open_store", missing=missing, libraries={library})


def _server(module: str) -> Lazy:
    return lazy(f"unembed_stores.servers.{module}:open_server")


def _chroma(place: str, request: "SourceRequest") -> "SourceContents":
    return _of_folder_or_server("chroma", "chroma.store", place, request)


def _qdrant(place: str, request: "SourceRequest") -> "SourceContents":
    return _of_folder_or_server("qdrant", "qdrant_local", place, request)


def _of_folder_or_server(server: str, store: str, place: str, request: "SourceRequest") -> "SourceContents":
    is_url = place.startswith(("http:", "https:"))
    reader = _server(server) if is_url else lazy(f"unembed_stores.{store}:open_store")
    found: SourceContents = reader(place, request)
    return found
