"""Curves through cells."""

import math

import pytest
import torch

from unembed_defend.study.fitting import curve, fits


def cell(length: int, width: int, bits: int, *, n: int = 100, noise: float = 0.0) -> dict:
    score = 6 - 2 * math.log(length) + 0.8 * math.log(width) - 1.5 * (bits == 1) + noise
    share = 1 / (1 + math.exp(-score))
    figures = {"exact_match": share, "content": share**0.5, "nats": 10 - score, "n": n}
    return {"length": length, "width": width, "bits": bits, "way": "pca", "recovery": figures}


CELLS = [cell(*each) for each in ((a, b, c) for a in (8, 16, 32, 64) for b in (384, 96, 48) for c in (32, 8, 1))]


def test_a_curve_finds_a_logistic_law_again() -> None:
    x = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0]], dtype=torch.float64)
    law = torch.sigmoid(1.5 * x[:, 0] - 2)
    found = curve(x, law)
    new = torch.tensor([[2.5]], dtype=torch.float64)
    assert found(new).item() == pytest.approx(1 / (1 + math.exp(-(1.5 * 2.5 - 2))), abs=0.02)
    flat = curve(x, torch.zeros(5, dtype=torch.float64))
    assert float(flat(x).max()) < 0.05  # shares of 0 alone give no infinite weights


def test_cells_left_out_are_predicted_where_a_law_holds_and_not_where_none_does() -> None:
    found = {(fit["model"], fit["measure"]): fit for fit in fits(CELLS)}
    assert set(found) == {(a, b) for a in ("shape", "nats") for b in ("exact", "content words")}
    law = found["shape", "exact"]
    assert law["left_out"]["cell"]["mean"] < 2 and law["left_out"]["cell"]["within"] > 0.9
    assert law["left_out"]["length"]["mean"] >= law["left_out"]["cell"]["mean"]
    draw = torch.Generator().manual_seed(0)
    noisy = [
        cell(one["length"], one["width"], one["bits"], noise=3 * float(torch.randn((), generator=draw)))
        for one in CELLS
    ]
    wild = next(fit for fit in fits(noisy) if (fit["model"], fit["measure"]) == ("shape", "exact"))
    assert wild["left_out"]["cell"]["mean"] > 5 > wild["chance"]


def test_nothing_is_fitted_to_too_few_cells_and_no_width_left_out_of_one() -> None:
    assert fits(CELLS[:5]) == [] and fits([{**one, "recovery": None} for one in CELLS]) == []
    narrow = [one for one in CELLS if one["width"] == 96] * 3
    assert all(fit["left_out"]["width"] is None for fit in fits(narrow))
