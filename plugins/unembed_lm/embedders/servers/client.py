"""A small JSON client: retries, a key from the environment, errors of one line."""

import json
import os
import time
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from unembed.costs.meter import Meter
from unembed.errors import InputError, ServiceError, brief

__all__ = ["Client"]

ATTEMPTS = 4
AGAIN = (408, 425, 429, 500, 502, 503, 504)


class Client:
    """A server by its URL; each answer is counted on `meter`. The key, if it wants one, is that of UNEMBED_LM_KEY."""

    def __init__(self, url: str, meter: Meter, *, timeout: float, pause: float = 0.5) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"{brief(url)!r} isn't a server's URL, such as http://localhost:8080")
        self.url, self.meter, self.timeout, self.pause = url.rstrip("/"), meter, timeout, pause

    def post(self, path: str, body: dict[str, Any], *, tokens: int) -> dict[str, Any]:
        """The JSON answer to a request of about so many `tokens`; raises InputError where it is refused."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        key = os.environ.get("UNEMBED_LM_KEY", "").strip()
        if key:
            headers["Authorization"] = f"Bearer {key}"
        request = Request(self.url + path, json.dumps(body).encode(), headers, method="POST")
        for attempt in range(ATTEMPTS):
            try:
                with urlopen(request, timeout=self.timeout) as answer:
                    found = json.loads(answer.read())
            except HTTPError as error:
                with error:
                    said = brief(error.read(2000).decode(errors="replace"), 160)
                if error.code not in AGAIN or attempt == ATTEMPTS - 1:
                    raise self._refusal(error.code, path, said, bool(key)) from error
            except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
                if attempt == ATTEMPTS - 1:
                    raise ServiceError(f"{self.url} can't be reached: {getattr(error, 'reason', error)}") from error
            except ValueError as error:
                raise ServiceError(f"{self.url}{path} answered with what isn't JSON") from error
            else:
                if not isinstance(found, dict):
                    raise ServiceError(f"{self.url}{path} answered with JSON that is no object")
                self.meter.spend(tokens, 0)
                return found
            time.sleep(self.pause * 2**attempt)
        raise AssertionError("unreachable")

    def _refusal(self, code: int, path: str, said: str, keyed: bool) -> InputError | ServiceError:
        if code in (401, 403):
            state = "was refused" if keyed else "is missing"
            return InputError(f"{self.url}{path} answered {code}: the key {state}; set UNEMBED_LM_KEY")
        kind = InputError if code < 500 and code != 429 else ServiceError
        return kind(f"{self.url}{path} answered {code}: {said}")
