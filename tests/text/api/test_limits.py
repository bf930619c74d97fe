"""A minute holds so many requests and tokens, by a clock that only the tests move."""

import pytest

from unembed_text.embedders.api.limits import RateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    ("requests", "tokens", "sizes", "ends"),
    [
        (None, None, [10**9] * 5, 0.0),
        (60, None, [1] * 60, 0.0),
        (60, None, [1] * 90, 30.0),
        (None, 600, [300, 300, 300], 30.0),
        (120, 600, [100] * 12, 60.0),
        (None, 100, [1000], 0.0),  # larger than a minute's worth: a full bucket does
        (None, 100, [1000, 50], 30.0),
    ],
)
def test_acquire_waits_until_there_is_room(requests, tokens, sizes, ends) -> None:
    clock = Clock()
    limiter = RateLimiter(requests=requests, tokens=tokens, clock=clock, sleep=clock.sleep)
    for size in sizes:
        limiter.acquire(size)
    assert clock.now == pytest.approx(ends, abs=0.01)


def test_a_bucket_never_holds_more_than_a_minute() -> None:
    clock = Clock()
    limiter = RateLimiter(requests=None, tokens=60, clock=clock, sleep=clock.sleep)
    clock.now = 3600
    limiter.acquire(60)
    limiter.acquire(60)
    assert clock.now == pytest.approx(3660)
