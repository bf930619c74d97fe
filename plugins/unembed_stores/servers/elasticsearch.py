"""Elasticsearch and OpenSearch: indices with fields of vectors, scrolled through."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from unembed.errors import InputError
from unembed.sources.places import shown
from unembed.sources.records import SourceContents, SourceRequest
from unembed.sources.rows import Row, choose
from unembed_stores.servers.client import Client
from unembed_stores.servers.records import chosen, contents, split_text, understood

__all__ = ["open_server"]

_TYPES = ("dense_vector", "knn_vector")
_KEEP = "2m"


@understood("Elasticsearch")
def open_server(place: str, request: SourceRequest) -> SourceContents:
    """A cluster by its URL; the key is in ELASTIC_API_KEY. Indices are collections; `column` is a field, or `a.b`."""
    client = Client(place, "ELASTIC_API_KEY", prefix="ApiKey ")
    about = client.get("/")
    exclude = _leaves_vectors_out(about)
    mappings = {name: entry["mappings"] for name, entry in client.get("/_mapping").items() if not name.startswith(".")}
    vectors = {name: dict(_fields(mapping.get("properties") or {}, "")) for name, mapping in mappings.items()}
    usable = [name for name, found in vectors.items() if found and request.column in (None, *found)]
    if not usable:
        raise InputError(f"{shown(place)} has no index with a field of vectors; it has {len(mappings)} indices")
    names = chosen(place, usable, request, "index")
    fields = {
        name: request.column
        or choose(f"{shown(place)}, index {name}", "field", vectors[name], list(vectors[name]), request)
        for name in names
    }
    source: Any = {"exclude_vectors": False} if exclude else True

    def rows(size: int) -> Iterator[Row]:
        for name in names:
            body = {"size": size, "sort": ["_doc"], "query": {"match_all": {}}, "_source": source}
            answer = client.post(f"/{quote(name)}/_search?scroll={_KEEP}", body)
            try:
                while answer["hits"]["hits"]:
                    for hit in answer["hits"]["hits"]:
                        yield _row(hit, name, fields[name], request)
                    answer = client.post("/_search/scroll", {"scroll": _KEEP, "scroll_id": answer["_scroll_id"]})
            finally:
                client.delete("/_search/scroll", {"scroll_id": answer["_scroll_id"]})

    kind = "OpenSearch" if "opensearch" in str(about).lower() else "Elasticsearch"
    return contents(kind, rows, request, names, None)


def _leaves_vectors_out(about: Mapping[str, Any]) -> bool:
    """Whether vectors must be asked for, as from Elasticsearch 9.2 on."""
    version = about.get("version") or {}
    if version.get("distribution") == "opensearch":
        return False
    numbers = [int(part) for part in str(version.get("number", "0")).split(".")[:2] if part.isdigit()]
    return tuple(numbers) >= (9, 2)


def _fields(properties: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, int]]:
    for name, field in properties.items():
        if field.get("type") in _TYPES:
            yield prefix + name, int(field.get("dims") or field.get("dimension") or 0)
        elif "properties" in field:
            yield from _fields(field["properties"], f"{prefix}{name}.")


def _row(hit: Mapping[str, Any], index: str, field: str, request: SourceRequest) -> Row:
    source = dict(hit.get("_source") or {})
    cell: Any = source
    for part in field.split("."):
        cell = cell.get(part) if isinstance(cell, Mapping) else None
    rest = {key: value for key, value in source.items() if key != field.partition(".")[0]}
    text, payload = split_text(rest if request.payloads else None)
    return Row(cell, str(hit["_id"]), text, payload, index)
