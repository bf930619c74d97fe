"""Intervals: against tables, at the ends, in strata; and how often they hold."""

import numpy as np
import pytest

from unembed_audit.report.rates import Rate, stratified, weighted, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe 1998, table I, method 3 (Wilson's score without continuity correction).
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_is_that_of_the_table(successes, n, low, high):
    found = wilson(successes, n)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_of_nothing_nothing_is_known():
    assert wilson(0, 0) == Rate(None, 0.0, 1.0, 0)


def test_a_whole_population_has_no_interval_and_most_of_it_a_narrow_one():
    assert wilson(3, 10, population=10) == Rate(0.3, 0.3, 0.3, 10)
    wide, narrow = wilson(30, 100), wilson(30, 100, population=110)
    assert wide.low < narrow.low < narrow.share < narrow.high < wide.high


def test_strata_weigh_as_many_records_as_they_have():
    found = stratified([(wilson(90, 100), 100), (wilson(10, 100), 900)])
    assert found.share == pytest.approx(0.18) and found.low < 0.18 < found.high and found.n == 200
    assert stratified([(wilson(0, 0), 50), (wilson(1, 2), 50)]).share == 0.5


def test_a_stratified_interval_holds_as_often_as_it_says_also_for_rare_things():
    draw = np.random.default_rng(0)
    true, sizes, n = (0.01, 0.3, 0.6), (5000, 800, 200), 60
    wanted = sum(p * size for p, size in zip(true, sizes, strict=True)) / sum(sizes)
    held = 0
    for _ in range(600):
        parts = [(wilson(draw.binomial(n, p), n, population=size), size) for p, size in zip(true, sizes, strict=True)]
        held += (found := stratified(parts)).low <= wanted <= found.high
    assert 0.92 <= held / 600 <= 1


def test_a_domain_with_equal_weights_is_a_plain_sample():
    assert weighted([(3, 10, 5.0), (4, 10, 5.0)]).share == wilson(7, 20).share
    assert weighted([(3, 10, 5.0), (4, 10, 5.0)]).low == pytest.approx(wilson(7, 20).low)
    assert weighted([]).share is None
    uneven = weighted([(3, 10, 1.0), (4, 10, 9.0)])
    assert uneven.share == pytest.approx(0.39) and uneven.high - uneven.low > wilson(7, 20).high - wilson(7, 20).low
