"""The bootstrap, worked by hand where that is possible."""

import pytest
import torch

from unembed.inversion.bootstrap import bootstrap, mean


def test_mean_divides_values_by_their_count() -> None:
    assert mean(torch.tensor([3.0, 4.0])) == 0.75


def test_bootstrap_of_equal_items_has_no_width() -> None:
    assert bootstrap(torch.tensor([[0.5, 1.0]] * 10), mean) == (0.5, 0.5)


def test_bootstrap_of_coin_flips_is_the_binomial_interval() -> None:
    flips = torch.tensor([[1.0, 1.0]] * 50 + [[0.0, 1.0]] * 50, dtype=torch.float64)
    low, high = bootstrap(flips, mean)
    # 2.5 % and 97.5 % quantiles of a binomial(100, 1/2) are 40 and 60.
    assert low == pytest.approx(0.40, abs=0.015) and high == pytest.approx(0.60, abs=0.015)


def test_bootstrap_is_seeded() -> None:
    items = torch.rand(30, 1, generator=torch.Generator().manual_seed(0)).double()
    items = torch.cat([items, torch.ones_like(items)], 1)
    assert bootstrap(items, mean, seed=1) == bootstrap(items, mean, seed=1) != bootstrap(items, mean, seed=2)
