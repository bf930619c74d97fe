"""Readers of servers, against answers in the form that each server's documentation gives. No server is asked."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

import unembed
from unembed.errors import InputError, ServiceError
from unembed_stores.servers.client import Client

from .conftest import Read, vectors_of

ROWS = vectors_of(25)
NAMES = [f"rec-{n:02d}" for n in range(25)]


class Fake:
    """A server on the loopback that answers by a function of the path, the query and the body."""

    def __init__(self, answer) -> None:
        self.asked: list[tuple[str, str, dict]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def _respond(self) -> None:
                parts = urlsplit(self.path)
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                fake.asked.append((self.command, parts.path, dict(self.headers)))
                found = answer(self.command, parts.path, parse_qs(parts.query), body)
                code, text = found if isinstance(found, tuple) else (200, found)
                raw = text.encode() if isinstance(text, str) else json.dumps(text).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_DELETE = _respond

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def serve():
    opened: list[Fake] = []

    def start(answer) -> Fake:
        opened.append(Fake(answer))
        return opened[-1]

    yield start
    for fake in opened:
        fake.close()


def qdrant(method, path, query, body):
    if path == "/collections":
        return {"result": {"collections": [{"name": "notes"}]}}
    if path == "/collections/notes":
        return {"result": {"points_count": 25, "config": {"params": {"vectors": {"size": 24, "distance": "Cosine"}}}}}
    assert (method, path) == ("POST", "/collections/notes/points/scroll") and body["with_vector"] is True
    first = body["offset"] or 0
    points = [
        {"id": n, "vector": ROWS[n].tolist(), "payload": {"text": f"note {n}", "kind": "a"}}
        for n in range(first, min(first + body["limit"], 25))
    ]
    last = first + body["limit"]
    return {"result": {"points": points, "next_page_offset": last if last < 25 else None}}


def named_qdrant(method, path, query, body):
    found = qdrant(method, path, query, body)
    for point in found["result"].get("points", []) if "result" in found else []:
        point["vector"] = {"small": [0.5, 0.5], "large": point["vector"]}
    return found


def chroma(method, path, query, body):
    base = "/api/v2/tenants/default_tenant/databases/default_database/collections"
    if path == base:
        return [{"name": "notes", "id": "c-1", "dimension": 24}]
    assert path == f"{base}/c-1/get" and body["include"] == ["embeddings", "documents", "metadatas"]
    part = slice(body["offset"], body["offset"] + body["limit"])
    count = len(NAMES[part])
    return {
        "ids": NAMES[part],
        "embeddings": ROWS[part].tolist(),
        "documents": [f"note {n}" for n in range(body["offset"], body["offset"] + count)],
        "metadatas": [{"kind": "a"}] * count,
    }


def old_chroma(method, path, query, body):
    if path.startswith("/api/v2"):
        return 404, {"detail": "Not Found"}
    return chroma(
        method, path.replace("/api/v1", "/api/v2/tenants/default_tenant/databases/default_database"), query, body
    )


def weaviate(method, path, query, body):
    if path == "/v1/schema":
        return {"classes": [{"class": "Note"}]}
    assert path == "/v1/objects" and query["class"] == ["Note"] and query["include"] == ["vector"]
    after = query.get("after", [""])[0]
    first = NAMES.index(after) + 1 if after else 0
    limit = int(query["limit"][0])
    return {
        "objects": [
            {"id": NAMES[n], "properties": {"text": f"note {n}", "kind": "a"}, "vector": ROWS[n].tolist()}
            for n in range(first, min(first + limit, 25))
        ]
    }


def pinecone(method, path, query, body):
    if path == "/describe_index_stats":
        return {"dimension": 24, "namespaces": {"": {"vectorCount": 25}}}
    if path == "/vectors/list":
        first, limit = int(query.get("paginationToken", ["0"])[0]), int(query["limit"][0])
        page = [{"id": name} for name in NAMES[first : first + limit]]
        more = {"pagination": {"next": str(first + limit)}} if first + limit < 25 else {}
        return {"vectors": page, **more}
    assert path == "/vectors/fetch"
    return {
        "vectors": {
            name: {
                "id": name,
                "values": ROWS[NAMES.index(name)].tolist(),
                "metadata": {"text": f"note {NAMES.index(name)}", "kind": "a"},
            }
            for name in query["ids"]
        }
    }


def milvus(method, path, query, body):
    assert method == "POST" and path.startswith("/v2/vectordb/")
    if path.endswith("collections/list"):
        return {"code": 0, "data": ["notes"]}
    if path.endswith("collections/describe"):
        fields = [
            {"name": "id", "type": "VarChar", "primaryKey": True},
            {"name": "text", "type": "VarChar", "primaryKey": False},
            {"name": "vector", "type": "FloatVector", "params": [{"key": "dim", "value": "24"}]},
        ]
        return {"code": 0, "data": {"fields": fields}}
    after = body["filter"].partition(" > ")[2]
    first = NAMES.index(json.loads(after)) + 1 if after else 0
    return {
        "code": 0,
        "data": [
            {"id": NAMES[n], "text": f"note {n}", "kind": "a", "vector": ROWS[n].tolist()}
            for n in range(first, min(first + body["limit"], 25))
        ],
    }


def elasticsearch(version):
    def answer(method, path, query, body):
        if path == "/":
            return {"version": {"number": version}}
        if path == "/_mapping":
            field = {"type": "dense_vector", "dims": 24}
            return {
                "notes": {"mappings": {"properties": {"text": {"type": "text"}, "deep": {"properties": {"v": field}}}}},
                ".internal": {"mappings": {"properties": {"v": field}}},
            }
        if method == "DELETE":
            return {"succeeded": True}
        if path == "/notes/_search":
            assert (body["_source"] == {"exclude_vectors": False}) == (version >= "9.2")
            answer.at, answer.size = 0, body["size"]
        hits = [
            {"_id": NAMES[n], "_source": {"text": f"note {n}", "kind": "a", "deep": {"v": ROWS[n].tolist()}}}
            for n in range(answer.at, min(answer.at + answer.size, 25))
        ]
        answer.at += answer.size
        return {"_scroll_id": "s", "hits": {"hits": hits}}

    return answer


KINDS = [
    ("qdrant", qdrant),
    ("chroma", chroma),
    ("chroma", old_chroma),
    ("weaviate", weaviate),
    ("pinecone", pinecone),
    ("milvus", milvus),
    ("elasticsearch", elasticsearch("8.19.0")),
    ("elasticsearch", elasticsearch("9.4.1")),
]


@pytest.mark.parametrize(("kind", "answer"), KINDS, ids=[f"{kind}-{n}" for n, (kind, _) in enumerate(KINDS)])
def test_a_server_is_read_page_by_page(serve, kind, answer) -> None:
    fake = serve(answer)
    found = Read(unembed.open_source(f"{kind}:{fake.url}"))
    names = [str(n) for n in range(25)] if kind == "qdrant" else NAMES
    assert list(found.live) == names and not found.deleted
    assert np.array_equal(np.stack(list(found.live.values())), ROWS)
    assert found.texts[names[3]] == "note 3" and found.payloads[names[3]] == {"kind": "a"}
    assert found.source.collections in (("notes",), ("Note",), ()) and found.source.count in (None, 25)
    assert {method for method, _, _ in fake.asked} <= {"GET", "POST", "DELETE"}
    with pytest.raises(InputError, match="'none'"):
        unembed.open_source(f"{kind}:{fake.url}", collection="none")


def test_one_of_several_vectors_of_a_point(serve) -> None:
    fake = serve(named_qdrant)
    assert unembed.open_source(f"qdrant:{fake.url}", "large").width == 24
    assert unembed.open_source(f"qdrant:{fake.url}", width=24).width == 24
    assert unembed.open_source(f"qdrant:{fake.url}", "small").width == 2


def test_a_scroll_is_closed_even_if_reading_stops(serve) -> None:
    fake = serve(elasticsearch("8.19.0"))
    source = unembed.open_source(f"elasticsearch:{fake.url}")
    batches = source.batches(5)
    next(batches)
    batches.close()
    assert [path for method, path, _ in fake.asked if method == "DELETE"].count("/_search/scroll") == 2


def test_the_key_comes_from_the_environment(serve, monkeypatch) -> None:
    fake = serve(qdrant)
    monkeypatch.setenv("QDRANT_API_KEY", "k-1")
    unembed.open_source(f"qdrant:{fake.url}")
    assert {headers.get("Api-Key", headers.get("api-key")) for _, _, headers in fake.asked} == {"k-1"}


@pytest.mark.parametrize(
    ("answer", "message", "error"),
    [
        ((401, "no"), "the key is missing; set QDRANT_API_KEY", InputError),
        ((404, "gone"), "answered 404: gone", InputError),
        ((200, "<html>"), "answered with what isn't JSON", ServiceError),
    ],
)
def test_a_refusal_is_one_line(serve, monkeypatch, answer, message, error) -> None:
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)
    fake = serve(lambda *_: answer)
    with pytest.raises(error, match=message) as caught:
        unembed.open_source(f"qdrant:{fake.url}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["qdrant", "chroma", "weaviate", "pinecone", "milvus", "elasticsearch"])
def test_an_answer_of_another_server_is_said_to_be_one(serve, kind) -> None:
    fake = serve(lambda *_: {"status": "ok", "data": [1], "namespaces": {"a": 3}})
    with pytest.raises((ServiceError, InputError), match=r"answer|has no") as caught:
        unembed.open_source(f"{kind}:{fake.url}")
    assert "\n" not in str(caught.value)


def test_a_busy_server_is_asked_again(serve) -> None:
    answers = iter([(503, "later"), (429, "slower"), (200, {"ok": 1})])
    fake = serve(lambda *_: next(answers))
    assert Client(fake.url, "NO_KEY", pause=0.01).get("/x") == {"ok": 1}
    assert len(fake.asked) == 3


def test_a_server_that_isnt_there_is_said_to_be(monkeypatch) -> None:
    with pytest.raises(ServiceError, match=r"http://127\.0\.0\.1:9 can't be reached"):
        Client("http://127.0.0.1:9", "NO_KEY", pause=0.01).get("/x")
    with pytest.raises(InputError, match="isn't a URL of a server"):
        unembed.open_source("qdrant:https:nothing")


def test_usual_ports_and_hosts_are_recognised_and_others_ask_for_a_name() -> None:
    from unembed_stores import recognising as r

    assert r.is_qdrant("http://localhost:6333") and r.is_elasticsearch("https://x:9200/")
    assert r.is_pinecone("https://i-1.svc.pinecone.io") and not r.is_pinecone("https://notpinecone.io")
    with pytest.raises(InputError, match=r"no kind of source reads http://localhost:8000; .*qdrant:URL"):
        unembed.open_source("http://localhost:8000")
