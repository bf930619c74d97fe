"""Keeping to so many requests and tokens a minute."""

from threading import Event
from typing import TYPE_CHECKING

from unembed.errors import MissingExtraError

if TYPE_CHECKING:
    from pyrate_limiter import Limiter

__all__ = ["RateLimiter"]

MINUTE = 60_000  # milliseconds
GLANCE = 0.25  # seconds between looks at whether the run has been stopped


class RateLimiter:
    """Token buckets (one of requests, one of tokens) that hold a minute's worth and refill evenly."""

    def __init__(self, *, requests: float | None, tokens: float | None) -> None:
        self._requests, self._tokens = _Bucket(requests), _Bucket(tokens)

    def acquire(self, tokens: int, stop: Event) -> None:
        """Wait until there is room for one request of so many tokens, or until `stop` is set."""
        self._requests.take(1, stop)
        self._tokens.take(tokens, stop)


class _Bucket:
    def __init__(self, rate: float | None) -> None:
        self._limiter = None if rate is None else _limiter(rate)
        self._size = max(1, int(rate or 1))

    def take(self, weight: int, stop: Event) -> None:
        if self._limiter is None:
            return
        # More than the bucket ever holds would wait for ever; a full bucket does.
        while not self._limiter.try_acquire(weight=min(weight, self._size), timeout=GLANCE) and not stop.is_set():
            pass


def _limiter(rate: float) -> "Limiter":
    """A limiter to so many a minute, which may be less than one."""
    try:
        from pyrate_limiter import Limiter, Rate, SingleBucketFactory, StateBucket, TokenBucket
    except ImportError as error:
        raise MissingExtraError("embedding APIs need an extra: pip install 'unembed[api]'") from error
    size = max(1, int(rate))
    bucket = StateBucket([Rate(size, max(1, round(MINUTE * size / rate)))], TokenBucket())
    return Limiter(SingleBucketFactory(bucket, schedule_leak=False))
