"""The simulation of many GPUs, where the answer is known."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "bulk" / "simulate.py"


@pytest.fixture(scope="module")
def simulate():
    spec = importlib.util.spec_from_file_location("simulate", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulate"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def job(simulate):
    """A thousand blocks of 100 s each."""
    return simulate.Job(100_000, 100, 1.0, 1e9, 0.0, float("inf"), spread=0.0)


@pytest.mark.parametrize(("workers", "seconds"), [(1, 100_000), (10, 10_000), (1000, 100), (2000, 100)])
def test_without_failures_the_time_is_the_work_over_the_workers(simulate, job, workers, seconds) -> None:
    found = simulate.simulate(job, workers)
    assert found.seconds == pytest.approx(seconds, rel=1e-4) and found.busy == pytest.approx(100_000)
    assert found.lost == found.failures == 0


def test_more_workers_than_the_reader_feeds_wait_for_it(simulate, job) -> None:
    found = simulate.simulate(replace(job, reading=10.0), 100)
    assert 10_000 <= found.seconds <= 10_200


def test_failures_lose_half_a_block_each_and_nothing_else(simulate, job) -> None:
    found = simulate.simulate(replace(job, between=2000.0, opening=10.0), 10, seed=1)
    assert found.busy == pytest.approx(100_000)
    assert 30 < found.failures < 75 and 0.3 < found.lost / found.failures / 100 < 0.7
    assert found.seconds == pytest.approx((100_000 + found.lost + 10 * found.failures) / 10, rel=0.03)


def test_a_mix_of_lengths_takes_the_next_longer_measured(simulate) -> None:
    rates = {"rows": [{"effort": "low", "tokens": 8, "rate": 4.0}, {"effort": "low", "tokens": 16, "rate": 2.0}]}
    assert simulate.seconds_of(rates, "low", {6: 1, 16: 1, 40: 2}) == pytest.approx((0.25 + 0.5 + 2 * 0.5) / 4)
    with pytest.raises(SystemExit, match="known: low"):
        simulate.seconds_of(rates, "max", {8: 1})
