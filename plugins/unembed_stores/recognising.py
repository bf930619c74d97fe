"""Which store a path or URL is: by names, first bytes and what a folder holds. Imports no library."""

import os
import re
from urllib.parse import urlsplit

__all__ = [
    "is_chroma",
    "is_duckdb",
    "is_elasticsearch",
    "is_faiss",
    "is_hdf5",
    "is_lance",
    "is_milvus",
    "is_pinecone",
    "is_postgres",
    "is_qdrant",
    "is_sqlite",
    "is_weaviate",
]

_FAISS = re.compile(rb"I[A-Za-z0-9]{3}")
_FAISS_ENDINGS = (".faiss", ".index", ".ivf", ".hnsw")


def _start(place: str, count: int) -> bytes:
    try:
        with open(place, "rb") as file:
            return file.read(count)
    except OSError:
        return b""


def is_sqlite(place: str) -> bool:
    """A SQLite file."""
    return os.path.isfile(place) and _start(place, 16) == b"SQLite format 3\0"


def is_chroma(place: str) -> bool:
    """A folder of Chroma's, or the SQLite file in it; a server is named, `chroma:URL`."""
    return os.path.isfile(os.path.join(place, "chroma.sqlite3")) or (
        os.path.basename(place) == "chroma.sqlite3" and is_sqlite(place)
    )


def is_qdrant(place: str) -> bool:
    """A folder of Qdrant's local mode, or a server at its usual port or host."""
    if os.path.isdir(place):
        return os.path.isfile(os.path.join(place, "meta.json")) and os.path.isdir(os.path.join(place, "collection"))
    return _server(place, "6333", "cloud.qdrant.io")


def is_lance(place: str) -> bool:
    """A Lance table, or a folder of LanceDB with tables in it."""
    if not os.path.isdir(place):
        return False
    if os.path.isdir(os.path.join(place, "_versions")):
        return True
    return any(
        name.endswith(".lance") and os.path.isdir(os.path.join(place, name, "_versions")) for name in os.listdir(place)
    )


def is_duckdb(place: str) -> bool:
    """A DuckDB file."""
    return os.path.isfile(place) and _start(place, 12)[8:] == b"DUCK"


def is_hdf5(place: str) -> bool:
    """An HDF5 file."""
    return os.path.isfile(place) and _start(place, 8) == b"\x89HDF\r\n\x1a\n"


def is_faiss(place: str) -> bool:
    """A FAISS index, or a folder with an index.faiss, as LangChain writes."""
    if os.path.isdir(place):
        return os.path.isfile(os.path.join(place, "index.faiss"))
    return place.endswith(_FAISS_ENDINGS) and _FAISS.fullmatch(_start(place, 4)) is not None


def is_postgres(place: str) -> bool:
    """A PostgreSQL connection URL."""
    return place.startswith(("postgresql://", "postgres://"))


def is_weaviate(place: str) -> bool:
    """A Weaviate server in its maker's cloud; others are named, `weaviate:URL`."""
    return _server(place, "", "weaviate.network", "weaviate.cloud")


def is_pinecone(place: str) -> bool:
    """A Pinecone index by its URL."""
    return _server(place, "", "pinecone.io")


def is_milvus(place: str) -> bool:
    """A Milvus server at its usual port, or Zilliz's cloud."""
    return _server(place, "19530", "zillizcloud.com")


def is_elasticsearch(place: str) -> bool:
    """Elasticsearch or OpenSearch at their usual port or hosts."""
    return _server(place, "9200", "elastic-cloud.com", "elastic.cloud", "es.amazonaws.com")


def _server(place: str, port: str, *hosts: str) -> bool:
    if not place.startswith(("http://", "https://")):
        return False
    try:
        parts = urlsplit(place)
        found = parts.hostname or "", str(parts.port or "")
    except ValueError:
        return False
    return (bool(port) and found[1] == port) or any(found[0] == host or found[0].endswith(f".{host}") for host in hosts)
