"""A small JSON client: retries, keys from the environment, errors of one line."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

from unembed.errors import InputError, ServiceError
from unembed.sources.places import shown

__all__ = ["Client"]

_ATTEMPTS = 4
_AGAIN = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Client:
    """A server by its URL. `key` is the environment variable of its key, `header` how the key is sent."""

    url: str
    key: str
    header: str = "Authorization"
    prefix: str = "Bearer "
    more: Mapping[str, str] = field(default_factory=dict)
    pause: float = 0.5

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"{shown(self.url)!r} isn't a URL of a server, such as http://localhost:6333")

    def get(self, path: str, **query: Any) -> Any:
        """The JSON answer to a GET request; `query` may hold lists."""
        text = urlencode({name: value for name, value in query.items() if value is not None}, doseq=True)
        return self._ask("GET", f"{path}?{text}" if text else path, None)

    def post(self, path: str, body: Any) -> Any:
        """The JSON answer to a POST request."""
        return self._ask("POST", path, body)

    def delete(self, path: str, body: Any) -> Any:
        """The JSON answer to a DELETE request: for closing a scroll, nothing else."""
        return self._ask("DELETE", path, body)

    def _ask(self, method: str, path: str, body: Any) -> Any:
        where = self.url.rstrip("/") + path
        headers = {"Accept": "application/json", "Content-Type": "application/json", **self.more}
        key = os.environ.get(self.key)
        if key:
            headers[self.header] = f"{self.prefix}{key}"
        data = None if body is None else json.dumps(body).encode()
        for attempt in range(_ATTEMPTS):
            try:
                with urlopen(Request(where, data, headers, method=method), timeout=60) as answer:
                    return json.loads(answer.read())
            except HTTPError as error:
                with error:
                    said = error.read(2000).decode(errors="replace")
                if error.code not in _AGAIN or attempt == _ATTEMPTS - 1:
                    raise self._refusal(error.code, path, said) from error
            except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
                if attempt == _ATTEMPTS - 1:
                    reason = getattr(error, "reason", error)
                    raise ServiceError(f"{shown(self.url)} can't be reached: {reason}") from error
            except ValueError as error:
                raise ServiceError(f"{shown(self.url)}{path[:80]} answered with what isn't JSON") from error
            time.sleep(self.pause * 2**attempt)
        raise AssertionError("unreachable")

    def _refusal(self, code: int, path: str, said: str) -> InputError | ServiceError:
        where = f"{shown(self.url)}{path.partition('?')[0][:80]}"
        if code in (401, 403):
            state = "was refused" if os.environ.get(self.key) else "is missing"
            return InputError(f"{where} answered {code}: the key {state}; set {self.key}")
        detail = " ".join(said.split())[:160]
        kind = InputError if code < 500 and code != 429 else ServiceError
        return kind(f"{where} answered {code}: {detail}")
