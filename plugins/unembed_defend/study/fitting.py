"""Logistic curves through the cells, judged by cells, lengths and widths that they weren't fitted to."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["curve", "fits"]

FEWEST = 3  # cells for each parameter of a curve, below which none is fitted
RIDGE = 1e-3  # on standardised features: keeps a curve through cells of 0 and 1 finite
CLOSE = 5.0  # points
ROUNDS = 100  # of Newton's method

Cell = Mapping[str, Any]


def _shape(cell: Cell) -> list[float]:
    narrow = math.log(cell["width"])
    one_bit = float(cell["bits"] == 1)
    return [math.log(cell["length"]), narrow, float(cell["bits"] == 8), one_bit, one_bit * narrow,
            float(cell["way"] == "randproj")]  # fmt: skip


def _nats(cell: Cell) -> list[float]:
    return [cell["recovery"]["nats"], math.log(cell["length"])]


MODELS: dict[str, tuple[str, Callable[[Cell], list[float]]]] = {
    "shape": ("log length, log width, precision, log width at 1 bit, random projection", _shape),
    "nats": ("nats left of a text, log length", _nats),
}
MEASURES = {"exact_match": "exact", "content": "content words"}


def fits(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Every model of every measure for which enough cells are known: its weights and how far it predicts."""
    found = []
    for model, (features, values) in MODELS.items():
        for measure, name in MEASURES.items():
            used = [
                cell
                for cell in cells
                if (figures := cell["recovery"]) is not None
                and figures[measure] is not None
                and (model != "nats" or figures["nats"] is not None)
            ]
            if used and len(used) >= FEWEST * (1 + len(values(used[0]))):
                found.append({"model": model, "features": features, "measure": name, **_judged(used, values, measure)})
    return found


def curve(x: Tensor, share: Tensor) -> Callable[[Tensor], Tensor]:
    """A logistic regression of shares `[N]` on features `[N, F]` (fractional logit, Papke and Wooldridge 1996)."""
    middle, spread = x.mean(0), x.std(0, correction=0)
    spread = torch.where(spread > 1e-9, spread, 1.0)

    def design(given: Tensor) -> Tensor:
        return torch.cat([torch.ones_like(given[:, :1]), (given - middle) / spread], 1)

    a, weight = design(x), x.new_zeros(x.shape[1] + 1)
    ridge = RIDGE * len(x) * torch.eye(a.shape[1], dtype=x.dtype)
    for _ in range(ROUNDS):
        made = torch.sigmoid(a @ weight)
        slope = a.T @ (share - made) - ridge @ weight
        step = torch.linalg.solve(a.T @ (a * (made * (1 - made))[:, None]) + ridge, slope)
        weight = weight + step * min(1.0, 4 / float(step.abs().max().clamp_min(1e-12)))
        if float(step.abs().max()) < 1e-9:
            break
    return lambda given: torch.sigmoid(design(given) @ weight)


def _judged(cells: Sequence[Cell], values: Callable[[Cell], list[float]], measure: str) -> dict[str, Any]:
    x = torch.tensor([values(cell) for cell in cells], dtype=torch.float64)
    share = torch.tensor([cell["recovery"][measure] for cell in cells], dtype=torch.float64)
    counts = torch.tensor([cell["recovery"]["n"] for cell in cells], dtype=torch.float64)
    # What chance alone makes of a mean of so many texts: an upper bound for shares that aren't all 0 or 1.
    chance = math.sqrt(2 / math.pi) * (share * (1 - share) / counts).sqrt().mean()
    left_out = {
        "cell": list(range(len(cells))),
        "length": [cell["length"] for cell in cells],
        "width": [cell["width"] for cell in cells],
    }
    return {
        "cells": len(cells),
        "fitted": _off(curve(x, share)(x), share),
        "left_out": {name: _off(_predicted(x, share, groups), share) for name, groups in left_out.items()},
        "chance": 100 * float(chance),
    }


def _predicted(x: Tensor, share: Tensor, groups: Sequence[int]) -> Tensor:
    """What a curve through the other groups says of each; NaN where there is one group alone."""
    found = torch.full_like(share, torch.nan)
    which = torch.tensor(groups)
    for group in which.unique():
        out = which == group
        if not out.all():
            found[out] = curve(x[~out], share[~out])(x[out])
    return found


def _off(predicted: Tensor, share: Tensor) -> dict[str, float] | None:
    """Points that predictions are off by: the mean, the most, and the share of cells within five."""
    off = 100 * (predicted - share).abs()
    if bool(off.isnan().any()):
        return None
    return {"mean": float(off.mean()), "most": float(off.max()), "within": float((off <= CLOSE).double().mean())}
