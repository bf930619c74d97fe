"""A Pinecone index: ids are listed, then fetched, namespace by namespace."""

from collections.abc import Iterator

from unembed.sources.records import SourceContents, SourceRequest
from unembed.sources.rows import Row
from unembed_stores.servers.client import Client
from unembed_stores.servers.records import chosen, contents, split_text, understood

__all__ = ["open_server"]

_PAGE = 100  # the most that one listing gives
_VERSION = {"X-Pinecone-API-Version": "2025-04"}


@understood("Pinecone")
def open_server(place: str, request: SourceRequest) -> SourceContents:
    """A serverless index by its own URL, `https://INDEX-….pinecone.io`; the key is in PINECONE_API_KEY."""
    client = Client(place, "PINECONE_API_KEY", "Api-Key", "", _VERSION)
    stats = client.post("/describe_index_stats", {})
    present = {name or "": part.get("vectorCount", 0) for name, part in (stats.get("namespaces") or {}).items()}
    names = chosen(place, list(present), request, "namespace")

    def rows(size: int) -> Iterator[Row]:
        for name in names:
            token = None
            while True:
                page = client.get("/vectors/list", namespace=name, limit=min(size, _PAGE), paginationToken=token)
                ids = [entry["id"] for entry in page.get("vectors") or []]
                found = client.get("/vectors/fetch", namespace=name, ids=ids)["vectors"] if ids else {}
                for key in ids:
                    entry = found.get(key)
                    if entry is None:
                        continue  # deleted between the two calls
                    text, payload = split_text(entry.get("metadata") if request.payloads else None)
                    yield Row(entry.get("values"), key, text, payload, name or None)
                token = (page.get("pagination") or {}).get("next")
                if not token:
                    break

    count = sum(present[name] for name in names)
    return contents("Pinecone index", rows, request, [name for name in names if name], count)
