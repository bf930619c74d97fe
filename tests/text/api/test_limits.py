"""A minute holds so many requests and tokens."""

import time
from threading import Event

import pytest

from unembed_text.embedders.api.limits import RateLimiter


@pytest.mark.parametrize(
    ("requests", "tokens", "sizes", "least"),
    [
        (None, None, [10**9] * 5, 0.0),
        (60, None, [1] * 60, 0.0),
        (600, None, [1] * 603, 0.3),
        (None, 6000, [3000, 3000, 30], 0.3),
        (None, 100, [1000], 0.0),  # larger than a minute's worth: a full bucket does
        (None, 6000, [10000, 30], 0.3),
    ],
)
def test_acquire_waits_until_there_is_room(requests, tokens, sizes, least) -> None:
    limiter, stop = RateLimiter(requests=requests, tokens=tokens), Event()
    begun = time.monotonic()
    for size in sizes:
        limiter.acquire(size, stop)
    assert least <= time.monotonic() - begun < least + 2


def test_less_than_one_a_minute_is_a_limit_too() -> None:
    limiter, stop = RateLimiter(requests=0.5, tokens=None), Event()
    limiter.acquire(1, stop)
    stop.set()  # the second would wait two minutes
    begun = time.monotonic()
    limiter.acquire(1, stop)
    assert time.monotonic() - begun < 10
