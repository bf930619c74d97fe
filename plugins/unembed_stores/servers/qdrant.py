"""A Qdrant server: collections are scrolled through."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from unembed.sources.records import SourceContents, SourceRequest
from unembed.sources.rows import Row
from unembed_stores.servers.client import Client
from unembed_stores.servers.records import chosen, contents, split_text, understood

__all__ = ["open_server"]

_COSINE = "collections of cosine distance: the server keeps vectors normalised"


@understood("Qdrant")
def open_server(place: str, request: SourceRequest) -> SourceContents:
    """A server by its URL; the key is in QDRANT_API_KEY. Of several vectors a point, `column` names one."""
    client = Client(place, "QDRANT_API_KEY", "api-key", "")
    names = [entry["name"] for entry in client.get("/collections")["result"]["collections"]]
    names = chosen(place, names, request)
    infos = {name: client.get(f"/collections/{quote(name)}")["result"] for name in names}
    cosine = any('"Cosine"' in str(info.get("config")).replace("'", '"') for info in infos.values())
    count = sum(info.get("points_count") or 0 for info in infos.values())

    def rows(size: int) -> Iterator[Row]:
        for name in names:
            offset = None
            while True:
                body = {"limit": size, "offset": offset, "with_payload": request.payloads, "with_vector": True}
                answer = client.post(f"/collections/{quote(name)}/points/scroll", body)["result"]
                for point in answer["points"]:
                    cell, part = _vector(point.get("vector"), request)
                    text, payload = split_text(point.get("payload"))
                    collection = name if part is None else f"{name}/{part}"
                    yield Row(cell, str(point["id"]), text, payload, collection)
                offset = answer.get("next_page_offset")
                if offset is None:
                    break

    return contents("Qdrant server", rows, request, names, count, [_COSINE] if cosine else [])


def _vector(found: Any, request: SourceRequest) -> tuple[Any, str | None]:
    if not isinstance(found, Mapping):
        return found, None
    if request.column is not None:
        return found.get(request.column), request.column
    dense = {name: value for name, value in found.items() if isinstance(value, list)}
    fitting = [name for name, value in dense.items() if len(value) == request.width] or list(dense)
    return (dense[fitting[0]], fitting[0]) if fitting else (None, None)
