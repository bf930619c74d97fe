"""Keeping to so many requests and tokens a minute."""

import threading
import time
from collections.abc import Callable

__all__ = ["RateLimiter"]


class RateLimiter:
    """Token buckets (one of requests, one of tokens) that hold a minute's worth and refill evenly.

    `acquire` waits until there is room; a request larger than a whole minute's tokens waits for a full bucket.
    """

    def __init__(
        self,
        *,
        requests: float | None,
        tokens: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._size = (requests, tokens)
        self._left = [requests or 0.0, tokens or 0.0]
        self._clock, self._sleep = clock, sleep
        self._last = clock()
        self._lock = threading.Lock()

    def acquire(self, tokens: int) -> None:
        """Wait for one request of so many tokens."""
        with self._lock:  # first come, first served
            while (pause := self._missing(tokens)) > 0:
                self._sleep(pause)
            for index, (size, used) in enumerate(zip(self._size, (1, tokens), strict=True)):
                if size is not None:
                    self._left[index] -= min(used, size)

    def _missing(self, tokens: int) -> float:
        """Seconds until both buckets hold enough."""
        now = self._clock()
        pause = 0.0
        for index, (size, used) in enumerate(zip(self._size, (1, tokens), strict=True)):
            if size is None:
                continue
            self._left[index] = min(size, self._left[index] + (now - self._last) * size / 60)
            pause = max(pause, (min(used, size) - self._left[index]) * 60 / size)
        self._last = now
        return pause if pause > 1e-6 else 0.0
