"""A page that serves the toy modality, and a Chromium that is driven over a pipe: no library, no port, no driver.

Needs Chromium (`apt install chromium`) or Chrome; set CHROMIUM to its path where it isn't found.
"""

import base64
import http.client
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from unembed_web.app import Page, application
from unembed_web.audits import open_audits
from unembed_web.catalogue import Catalogue
from unembed_web.command import server
from unembed_web.line import Line

BROWSER = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--hide-scrollbars", "--disable-background-networking", "--disable-component-update", "--disable-extensions",
         "--remote-debugging-pipe")  # fmt: skip
# The browser reads its orders from descriptor 3 and answers on 4.
LAUNCH = """
import os, sys
given = [os.dup(int(one)) for one in sys.argv[1:3]]
high = [os.dup(one) for one in given]
os.dup2(high[0], 3); os.dup2(high[1], 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """A headless Chromium; `open` gives a tab."""

    def __init__(self, folder: Path) -> None:
        reads, self._out = os.pipe()
        self._in, writes = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(reads), str(writes), BROWSER, *FLAGS, f"--user-data-dir={folder}"],
            pass_fds=(reads, writes), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(reads)
        os.close(writes)
        self._numbers = itertools.count(1)
        self._answers: dict[int, dict] = {}
        self._events: list[dict] = []
        self._change = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        held = b""
        while part := os.read(self._in, 1 << 16):
            *whole, held = (held + part).split(b"\0")
            with self._change:
                for one in map(json.loads, whole):
                    if "id" in one:
                        self._answers[one["id"]] = one
                    else:
                        self._events.append(one)
                self._change.notify_all()

    def ask(self, method: str, session: str | None = None, **given) -> dict:
        """Call a method of the DevTools protocol."""
        number = next(self._numbers)
        order = {"id": number, "method": method, "params": given, **({"sessionId": session} if session else {})}
        os.write(self._out, json.dumps(order).encode() + b"\0")
        with self._change:
            assert self._change.wait_for(lambda: number in self._answers, 60), f"no answer to {method}"
            answer = self._answers.pop(number)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def events(self, session: str, method: str) -> list[dict]:
        with self._change:
            return [e["params"] for e in self._events if e.get("sessionId") == session and e["method"] == method]

    def open(self, url: str, *, width: int = 1000, height: int = 900, dark: bool = False, ready: bool = True) -> "Tab":
        return Tab(self, url, width, height, dark, ready)

    def close(self) -> None:
        try:
            self.ask("Browser.close")
        finally:
            self._process.wait(20)
            self._reader.join(20)
            os.close(self._out)
            os.close(self._in)


class Tab:
    """One page in a browser context of its own, as another visitor's: no cookie is shared."""

    def __init__(self, browser: Browser, url: str, width: int, height: int, dark: bool, ready: bool) -> None:
        self.browser = browser
        self.context = browser.ask("Target.createBrowserContext")["browserContextId"]
        given = {"url": "about:blank", "browserContextId": self.context}
        self.target = browser.ask("Target.createTarget", **given)["targetId"]
        self.session = browser.ask("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")
        self.size(width, height)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.ask("Emulation.setEmulatedMedia", features=scheme)
        self.ask("Page.navigate", url=url)
        if ready:
            self.until("document.querySelectorAll('#inverter option').length > 0")

    def ask(self, method: str, **given) -> dict:
        return self.browser.ask(method, self.session, **given)

    def size(self, width: int, height: int) -> None:
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def js(self, code: str):
        """The value of an expression."""
        found = self.ask("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, code: str, seconds: float = 30):
        """Wait until an expression is true, and return it."""
        end = time.monotonic() + seconds
        while not (found := self.js(code)):
            assert time.monotonic() < end, f"never came true: {code}\n{self.text('body')}"
            time.sleep(0.05)
        return found

    def text(self, selector: str) -> str:
        return self.js(f"(document.querySelector({json.dumps(selector)}) ?? {{}}).innerText ?? ''")

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.ask("Input.insertText", text=text)

    def press(self, key: str, **more) -> None:
        codes = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowRight": 39, "ArrowLeft": 37, " ": 32}
        given = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key], **more}
        if key == "Enter":
            given["text"] = "\r"
        self.ask("Input.dispatchKeyEvent", type="keyDown", **given)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **given)

    def drop(self, path: Path) -> None:
        """Drop a file on the page, as a mouse does."""
        self.ask("DOM.enable")
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.ask("Input.dispatchDragEvent", type=kind, x=200, y=150, data=data)

    def choose(self, path: Path) -> None:
        """Give a file to the field for files."""
        self.ask("DOM.enable")
        root = self.ask("DOM.getDocument")["root"]["nodeId"]
        node = self.ask("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.ask("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def click(self, selector: str) -> None:
        self.js(f"document.querySelector({json.dumps(selector)}).click()")

    def picture(self, path: Path, *, whole: bool = True) -> None:
        shot = self.ask(
            "Page.captureScreenshot", captureBeyondViewport=whole, **({} if not whole else {"clip": self._clip()})
        )
        path.write_bytes(base64.b64decode(shot["data"]))

    def _clip(self) -> dict:
        wide, high = self.js("[innerWidth, Math.max(innerHeight, document.documentElement.scrollHeight)]")
        return {"x": 0, "y": 0, "width": wide, "height": high, "scale": 1}

    @property
    def requests(self) -> list[str]:
        return [event["request"]["url"] for event in self.browser.events(self.session, "Network.requestWillBeSent")]

    @property
    def console(self) -> list[str]:
        """What was logged, and errors that nobody caught."""
        told = self.browser.events(self.session, "Runtime.consoleAPICalled")
        thrown = self.browser.events(self.session, "Runtime.exceptionThrown")
        logged = self.browser.events(self.session, "Log.entryAdded")
        return [json.dumps(one) for one in (*told, *thrown, *logged)]

    def close(self) -> None:
        self.browser.ask("Target.disposeBrowserContext", browserContextId=self.context)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    if BROWSER is None:
        pytest.skip("no Chromium here: apt install chromium, or set CHROMIUM")
    running = Browser(tmp_path_factory.mktemp("profile"))
    yield running
    running.close()


class Served:
    """A page that runs: its address, and plain requests to it."""

    def __init__(self, page: Page, *, host: str = "127.0.0.1", token: str | None = None, serve_as: str | None = None):
        self.page = page
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        app = application(page, host=serve_as or host, port=self.port, token=token)
        self._server = server(app)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        end = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < end
            time.sleep(0.01)

    def ask(self, method: str, path: str, body: bytes | dict | None = None, **headers: str):
        """Status, headers and body of an answer; a dictionary is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, dict):
            body, given = json.dumps(body).encode(), {"Content-Type": "application/json", **given}
        try:
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def events(self, **given) -> list[tuple[str, dict]]:
        """All events of a search."""
        status, _, body = self.ask("POST", "/api/invert", given)
        assert status == 200, body
        return parsed(body.decode())

    def close(self) -> None:
        self.page.line.close()
        self._server.should_exit = True
        self._thread.join(20)
        self._socket.close()
        assert not self._thread.is_alive()


def parsed(stream: str) -> list[tuple[str, dict]]:
    blocks = [block.split("\ndata: ", 1) for block in stream.split("\n\n") if block]
    return [(kind.removeprefix("event: "), json.loads(what)) for kind, what in blocks]


@pytest.fixture
def serve(install, monkeypatch):
    """Serve a page: `serve(*inverters, audits=folders)`, of the toy and those of `page_toys`."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    modules = {"toy": "unembed.testing.toy", "page_toys": "page_toys"}
    install(*(EntryPoint(name=name, value=module, group="unembed") for name, module in modules.items()))
    running: list[Served] = []

    def begin(*names: str, audits=(), most: int = 16, **options) -> Served:
        page = Page(Catalogue(names or ("toy",)), Line(most), open_audits(audits))
        running.append(Served(page, **options))
        return running[-1]

    yield begin
    for one in running:
        one.close()


def record(number: int, **changes) -> dict:
    given = {
        "id": f"id-{number}", "row": number, "collection": "notes", "deleted": False, "tokens": 6,
        "text": f"call jane doe on 212-555-01{number:02}", "similarity": 1.0, "confidence": 0.99, "verdict": None,
        "stopped": "solved", "steps": 1, "queries": 40, "exact": True, "words": 1.0, "missed": {},
        "findings": [{"kind": "phone", "value": f"212-555-01{number:02}", "by": "format", "score": 0.9,
                      "support": 0.9, "right": True}],
    }  # fmt: skip
    return {**given, **changes}


@pytest.fixture
def audit(tmp_path):
    """A folder as an audit leaves it: `audit(rows, shown=True)`; `record` makes a row."""

    def make(rows: list[dict], *, shown: bool, name: str = "audit-notes", report: bool = True) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "records.jsonl").write_text(lines, encoding="utf-8")
        (folder / "settings.json").write_text(json.dumps({"show_text": shown}))
        rate = {"share": 0.5, "low": 0.3, "high": 0.7, "n": len(rows)}
        figures = {
            "complete": True, "method": "measured", "rows": len(rows), "measured": len(rows),
            "store": {"records": 20, "deleted": 2, "collections": 1},
            "overall": {"exact": rate, "disclosed": rate, "words": 0.75},
            "by_kind": [{"kind": "phone", "label": "phone numbers", "found": 3}], "by_collection": [],
            "conditions": {"place": "notes.lance", "when": "2026-01-01", "kind": "LanceDB", "inverter": "minilm",
                           "effort": "low", "shown": shown},
            "examples": [{"text": "call jane doe"}],
        }  # fmt: skip
        if report:
            (folder / "report.json").write_text(json.dumps(figures))
        return folder

    make.record = record
    return make
