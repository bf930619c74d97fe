"""A Weaviate server: objects are listed by their ids, class by class."""

from collections.abc import Iterator

from unembed.sources.records import SourceContents, SourceRequest
from unembed.sources.rows import Row
from unembed_stores.servers.client import Client
from unembed_stores.servers.records import chosen, contents, split_text, understood

__all__ = ["open_server"]


@understood("Weaviate")
def open_server(place: str, request: SourceRequest) -> SourceContents:
    """A server by its URL; the key is in WEAVIATE_API_KEY. `column` names one of an object's vectors."""
    client = Client(place, "WEAVIATE_API_KEY")
    names = chosen(place, [entry["class"] for entry in client.get("/v1/schema")["classes"]], request)

    def rows(size: int) -> Iterator[Row]:
        for name in names:
            after = ""
            while True:
                query = {"class": name, "limit": size, "include": "vector", "after": after}
                found = client.get("/v1/objects", **query).get("objects") or []
                for entry in found:
                    several = entry.get("vectors") or {}
                    one = request.column or next(iter(several), None)
                    cell = entry.get("vector") if not several or entry.get("vector") else several.get(one)
                    if request.column is not None:
                        cell = several.get(request.column)
                    text, payload = split_text(entry.get("properties") if request.payloads else None)
                    yield Row(cell, str(entry["id"]), text, payload, name)
                if len(found) < size:
                    break
                after = found[-1]["id"]

    return contents("Weaviate server", rows, request, names, None)
