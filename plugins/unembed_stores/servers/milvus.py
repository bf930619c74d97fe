"""A Milvus server, by version 2 of its REST interface: pages follow the primary key."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from unembed.errors import InputError, ServiceError
from unembed.sources.places import shown
from unembed.sources.records import SourceContents, SourceRequest
from unembed.sources.rows import Row, choose
from unembed_stores.servers.client import Client
from unembed_stores.servers.records import chosen, contents, split_text, understood

__all__ = ["open_server"]

_VECTORS = ("FloatVector", "Float16Vector", "BFloat16Vector", "101", "102", "103")


@dataclass(frozen=True)
class _Fields:
    """The key, whether it is a number, and the vector of a collection."""

    key: str
    number: bool
    vector: str


@understood("Milvus")
def open_server(place: str, request: SourceRequest) -> SourceContents:
    """A server by its URL; the token is in MILVUS_TOKEN."""
    client = Client(place, "MILVUS_TOKEN")
    names = chosen(place, _ask(client, "collections/list", {}), request)
    fields: dict[str, _Fields] = {}
    for name in names:
        described = _ask(client, "collections/describe", {"collectionName": name})
        found = _fields(place, name, described["fields"], request)
        if found is not None:
            fields[name] = found
    if not fields:
        raise InputError(f"{shown(place)} has no collection with float vectors")

    def rows(size: int) -> Iterator[Row]:
        for name, part in fields.items():
            after: Any = None
            while True:
                body = {
                    "collectionName": name,
                    "filter": "" if after is None else f"{part.key} > {json.dumps(after)}",
                    "outputFields": ["*"] if request.payloads else [part.key, part.vector],
                    "limit": size,
                }
                found = _ask(client, "entities/query", body)
                for entry in found:
                    rest = {key: value for key, value in entry.items() if key not in (part.key, part.vector)}
                    text, payload = split_text(rest)
                    yield Row(entry.get(part.vector), str(entry[part.key]), text, payload, name)
                if len(found) < size:
                    break
                keys = [int(entry[part.key]) if part.number else entry[part.key] for entry in found]
                if after is not None and max(keys) <= after:
                    raise ServiceError(f"{shown(place)} gives the rows of {name!r} in no order of their keys")
                after = max(keys)

    return contents("Milvus server", rows, request, list(fields), None)


def _ask(client: Client, path: str, body: Mapping[str, Any]) -> Any:
    answer = client.post(f"/v2/vectordb/{path}", body)
    if answer.get("code") not in (0, 200):
        raise ServiceError(f"{shown(client.url)} answered {answer.get('code')}: {str(answer.get('message'))[:160]}")
    return answer.get("data") or []


def _fields(place: str, name: str, fields: list[dict[str, Any]], request: SourceRequest) -> _Fields | None:
    key = next((field for field in fields if field.get("primaryKey")), None)
    widths = {field["name"]: _width(field) for field in fields if str(field.get("type")) in _VECTORS}
    if request.column is not None:
        widths = {request.column: widths[request.column]} if request.column in widths else {}
    if key is None or not widths:
        return None
    names = [field["name"] for field in fields]
    vector = choose(f"{shown(place)}, collection {name}", "field", widths, names, request)
    return _Fields(key["name"], "int" in str(key.get("type")).lower(), vector)


def _width(field: Mapping[str, Any]) -> int:
    parameters = field.get("params") or []
    pairs = {p["key"]: p["value"] for p in parameters} if isinstance(parameters, list) else parameters
    return int(pairs.get("dim", 0))
