"""A Chroma server, by version 2 of its interface or by version 1."""

import os
from collections.abc import Iterator
from urllib.parse import quote

from unembed.errors import InputError
from unembed.sources.records import SourceContents, SourceRequest
from unembed.sources.rows import Row
from unembed_stores.servers.client import Client
from unembed_stores.servers.records import chosen, contents, understood

__all__ = ["open_server"]


@understood("Chroma")
def open_server(place: str, request: SourceRequest) -> SourceContents:
    """A server by its URL; CHROMA_API_KEY, CHROMA_TENANT and CHROMA_DATABASE are read where set."""
    client = Client(place, "CHROMA_API_KEY", "X-Chroma-Token", "")
    tenant = quote(os.environ.get("CHROMA_TENANT", "default_tenant"))
    database = quote(os.environ.get("CHROMA_DATABASE", "default_database"))
    base = f"/api/v2/tenants/{tenant}/databases/{database}/collections"
    try:
        present = client.get(base, limit=1000)
    except InputError as error:
        if "answered 404" not in str(error) and "answered 410" not in str(error):
            raise
        base, present = "/api/v1/collections", client.get("/api/v1/collections", tenant=tenant, database=database)
    ids = {entry["name"]: entry["id"] for entry in present}
    names = chosen(place, list(ids), request)
    include = ["embeddings", "documents", "metadatas"] if request.payloads else ["embeddings"]

    def rows(size: int) -> Iterator[Row]:
        for name in names:
            offset = 0
            while True:
                body = {"limit": size, "offset": offset, "include": include}
                found = client.post(f"{base}/{ids[name]}/get", body)
                keys = found["ids"]
                texts, metadatas = found.get("documents") or [], found.get("metadatas") or []
                vectors = found.get("embeddings") or [None] * len(keys)
                for place_, key in enumerate(keys):
                    text = texts[place_] if place_ < len(texts) else None
                    metadata = metadatas[place_] if place_ < len(metadatas) else None
                    yield Row(vectors[place_], str(key), text, metadata, name)
                offset += len(keys)
                if len(keys) < size:
                    break

    return contents("Chroma server", rows, request, names, None)
