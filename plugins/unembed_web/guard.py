"""Who may ask: requests of this very page, under an address that is ours, with the token where there is one.

A page elsewhere can make a browser send requests to this machine. One whose name is made to point here (DNS rebinding)
is known by its Host header, any other by its Origin; nothing is ever allowed by CORS.
"""

import hmac
import ipaddress
import socket
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard", "is_loopback"]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Refuses what doesn't come from the page itself, and says in each answer what a browser may do with it.

    `host` and `port` are those that the server is bound to. With a `token`, the page opens under `/?token=…` alone and
    leaves it as a cookie.
    """

    def __init__(self, app: ASGIApp, *, host: str, port: int, token: str | None = None) -> None:
        self.app, self.host, self.port, self.token = app, host, port, token
        self.cookie = f"unembed-{port}"  # cookies don't know ports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        answer = self._refusal(scope)
        await (self.app if answer is None else answer)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        given = headers.get("host", "")
        if not self._ours(given):
            return PlainTextResponse("this page isn't served under that address\n", 421)
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        start = scope["path"] == "/" and scope["method"] in ("GET", "HEAD")
        if origin not in (None, f"http://{given}") or (site not in ("same-origin", "none") and not start):
            return PlainTextResponse("this page answers to itself alone\n", 403)
        if self.token is None:
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if start and self._right(query.pop("token", [""])[0]):
            entered = RedirectResponse("/" + (f"?{urlencode(query, doseq=True)}" if query else ""), 303)
            entered.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
            return entered
        if self._right(self._brought(headers)):
            return None
        return PlainTextResponse("open the address that `unembed web` printed: it holds the token\n", 403)

    def _brought(self, headers: Headers) -> str:
        """The token of the request's cookies."""
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return ""
        return "" if found is None else found.value

    def _right(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), (self.token or "").encode()) and bool(self.token)

    def _ours(self, given: str) -> bool:
        """Whether a Host header names this server: as it is bound, or by a number, which nobody can rebind."""
        name, _, port = given.rpartition(":") if given.rpartition(":")[2].isdigit() else (given, "", "80")
        name = name.removeprefix("[").removesuffix("]").lower()
        if port != str(self.port):
            return False
        if name == self.host.lower() or is_loopback(name):
            return True
        if is_loopback(self.host):
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name == socket.gethostname().lower()
        return True


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
