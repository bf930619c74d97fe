"""The official client's HTTP, in which every attempt keeps to the limits and is on the meter."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, local
from typing import Any

from unembed.costs.meter import Meter
from unembed.errors import MissingExtraError, UnembedError
from unembed_text.embedders.api.limits import RateLimiter

try:
    import openai
except ImportError as error:
    raise MissingExtraError("embedding APIs need an extra: pip install 'unembed[api]'") from error

__all__ = ["Halt", "MeteredHttp", "out_of_quota"]

UNSENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})
NO_QUOTA = frozenset({"insufficient_quota", "quota_exceeded", "billing_hard_limit_reached"})


class Halt(BaseException):
    """Ends a request, and its retries, before it is sent: no `except Exception` of the client tries again."""

    def __init__(self, reason: UnembedError | None = None) -> None:
        self.reason = reason


class MeteredHttp(openai.DefaultHttpxClient):
    """Sends a request's attempts; those that the client tries again come through here too.

    An attempt is charged for unless the service refused it or was never reached: of one whose answer got lost nobody
    knows, and a limit on the cost must hold all the same.
    """

    def __init__(self, meter: Meter, limiter: RateLimiter) -> None:
        super().__init__()
        self._meter, self._limiter = meter, limiter
        self._call = local()

    def __del__(self) -> None:
        with suppress(Exception):  # whatever is gone by then
            self.close()

    @contextmanager
    def call(self, tokens: int, stop: Event) -> Iterator[None]:
        """What this thread sends within is a request of about so many tokens, which `stop` keeps back."""
        self._call.tokens, self._call.stop = tokens, stop
        yield

    def send(self, request: Any, **options: Any) -> Any:
        """Send one attempt, as the client asks."""
        tokens, stop = self._call.tokens, self._call.stop
        self._limiter.acquire(tokens, stop)
        if stop.is_set():
            raise Halt
        try:
            self._meter.reserve(tokens)
        except UnembedError as error:
            raise Halt(error) from None
        charged = tokens
        try:
            response = super().send(request, **options)
            charged = 0 if response.is_error else _tokens(response) or tokens
        except Exception as error:
            charged = 0 if type(error).__name__ in UNSENT else tokens
            raise
        finally:
            if charged:
                self._meter.spend(charged, 0)
            self._meter.release(tokens)
        if out_of_quota(response):
            response.headers["x-should-retry"] = "false"  # which the client obeys
        return response


def out_of_quota(response: Any) -> bool:
    """Whether the service says that the account's quota is used up, so that waiting helps nobody."""
    if response.status_code == 402:
        return True
    error = _field(response, "error") if response.status_code in (400, 403, 429) else None
    return isinstance(error, dict) and not NO_QUOTA.isdisjoint(str(error.get(key)) for key in ("code", "type"))


def _tokens(response: Any) -> int | None:
    """The tokens that an answer says it took."""
    usage = _field(response, "usage")
    found = usage.get("total_tokens") if isinstance(usage, dict) else None
    return found if isinstance(found, int) and found > 0 else None


def _field(response: Any, name: str) -> Any:
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return None
    return body.get(name) if isinstance(body, dict) else None
