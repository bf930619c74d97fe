"""The page's addresses: its few files, what it asks for, and searches as server-sent events."""

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from unembed.errors import InputError, ServiceError, UnembedError
from unembed.version import __version__
from unembed_web.audits import Audit
from unembed_web.catalogue import Catalogue
from unembed_web.guard import Guard
from unembed_web.line import Event, Job, Line
from unembed_web.reading import pasted, read_file, vector_of

__all__ = ["Page", "application"]

MOST = 32 * 2**20  # bytes of a request
PAGE = Path(__file__).parent / "page"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
ROWS = 200  # records of an audit, sent at once


class Page:
    """What all visitors share: the inverters, the line for them, the audits that the command was given."""

    def __init__(self, catalogue: Catalogue, line: Line, audits: Sequence[Audit]) -> None:
        self.catalogue, self.line, self.audits = catalogue, line, audits
        self._asked_for: set[str] = set()

    async def begin(self) -> None:
        """Open the first inverter, once somebody has the whole page on screen: importing torch would hold it up."""
        if not self._asked_for:
            self._open(self.catalogue.first)

    def _open(self, name: str) -> None:
        """Open an inverter when its turn comes, once however many ask for it: a search opens what isn't open, too."""
        if name not in self._asked_for:
            self._asked_for.add(name)
            self.line.join(lambda job: self._opened(name), lambda event: None)

    def _opened(self, name: str) -> None:
        self.catalogue.opened(name)

    async def state(self, request: Request) -> Response:
        """The inverters and audits that there are."""
        told = {
            "version": __version__,
            "first": self.catalogue.first,
            "inverters": self.catalogue.listed(),
            "audits": [{"name": audit.folder.name} for audit in self.audits],
        }
        return JSONResponse(told, background=BackgroundTask(self.begin))  # the last thing that the page asks for

    async def open(self, request: Request) -> Response:
        """Open an inverter in the background, which the page's visitor has chosen."""
        given = await _json(request)
        name = str(given.get("inverter"))
        if name not in self.catalogue.names:
            raise InputError(f"no such inverter on this page; it has {', '.join(self.catalogue.names)}")
        self._open(name)
        return JSONResponse({})

    async def vectors(self, request: Request) -> Response:
        """The first vectors of a file, which is the request's body."""
        name = request.query_params.get("name", "")[:200] or "the file"
        return JSONResponse(await read_file(name, await _body(request)))

    async def invert(self, request: Request) -> Response:
        """A search as events, which ends when the visitor goes."""
        given = await _json(request)
        told: asyncio.Queue[Event | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def send(event: Event | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(told.put_nowait, event)

        job = self.line.join(partial(self._search, given), send)
        headers = {"X-Accel-Buffering": "no"}
        return StreamingResponse(_events(job, told), media_type="text/event-stream", headers=headers)

    def _search(self, given: dict[str, Any], job: Job) -> None:
        name, effort = str(given.get("inverter")), str(given.get("effort"))
        job.send("opening", inverter=name)
        inverter, kind = self.catalogue.opened(name)
        job.check()
        # torch comes with these, so not before.
        from unembed_web.watching import Asked, watch

        if "vector" in given:
            asked = Asked(vector=vector_of(str(given["vector"])))
        elif "picture" in given:
            asked = Asked(picture=_bytes(str(given["picture"])))
        else:
            text = str(given.get("text", ""))
            if not text.strip():
                raise InputError("there is nothing to invert: type a text, or paste or drop a vector")
            vector = pasted(text)
            asked = Asked(text=text) if vector is None else Asked(vector=vector)
        watch(job, inverter, kind, asked, effort)

    async def audit(self, request: Request) -> Response:
        """The figures of one audit."""
        return JSONResponse(await anyio.to_thread.run_sync(self._audit(request).figures))

    async def records(self, request: Request) -> Response:
        """Some records of one audit."""
        audit, query = self._audit(request), request.query_params
        try:
            start, count = max(0, int(query.get("start", "0"))), min(ROWS, max(1, int(query.get("count", "50"))))
        except ValueError:
            raise InputError("start and count are numbers") from None
        found, show = query.get("found") == "1", query.get("show") == "1"
        read = partial(audit.records, start, count, show=show, found=found)
        return JSONResponse(await anyio.to_thread.run_sync(read))

    def _audit(self, request: Request) -> Audit:
        number: int = request.path_params["number"]
        if number >= len(self.audits):
            raise HTTPException(404)
        return self.audits[number]


def application(page: Page, *, host: str, port: int, token: str | None = None) -> Starlette:
    """The application that serves a page under that address."""
    files = {path.name: path for path in sorted(PAGE.iterdir()) if path.suffix in KINDS}

    async def index(request: Request) -> Response:
        return _file(files["index.html"])

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in files:
            raise HTTPException(404)
        return _file(files[name])

    routes = [
        Route("/", index),
        Route("/page/{name}", file),
        Route("/api/state", page.state),
        Route("/api/open", page.open, methods=["POST"]),
        Route("/api/vectors", page.vectors, methods=["POST"]),
        Route("/api/invert", page.invert, methods=["POST"]),
        Route("/api/audits/{number:int}", page.audit),
        Route("/api/audits/{number:int}/records", page.records),
    ]
    handlers: Any = {UnembedError: _failed, HTTPException: _refused}
    guard = Middleware(Guard, host=host, port=port, token=token)
    return Starlette(routes=routes, exception_handlers=handlers, middleware=[guard])


async def _events(job: Job, told: "asyncio.Queue[Event | None]") -> AsyncIterator[str]:
    try:
        while (event := await told.get()) is not None:
            kind, what = event
            yield f"event: {kind}\ndata: {json.dumps(what, ensure_ascii=False, allow_nan=False)}\n\n"
    finally:
        job.cancel()


def _file(path: Path) -> Response:
    return Response(path.read_bytes(), media_type=KINDS[path.suffix])


async def _body(request: Request) -> bytes:
    """The request's body; raises HTTPException where it is too large, without reading all of it."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST:
            raise HTTPException(413, f"that is more than {MOST // 2**20} MB, which is the most that this page takes")
        parts.append(part)
    return b"".join(parts)


async def _json(request: Request) -> dict[str, Any]:
    # A form of another page can't send this type without asking first, which is refused.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "this address takes application/json")
    try:
        found = json.loads(await _body(request))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError("the request isn't a JSON object")
    return found


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"the picture of this request is damaged: {error}") from error


def _failed(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 503 if isinstance(error, ServiceError) else 400)


def _refused(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code)
