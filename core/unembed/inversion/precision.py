"""How precisely vectors are given: what rounding left of them, read from their own digits.

Float32 vectors that were stored as float16, as 8-bit codes or with a few decimals lie on a grid. The grid says how far
an exact reconstruction's embedding must be from such a vector, so that a search can tell arrival from a near miss.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unembed.errors import InputError

__all__ = ["PRECISIONS", "Precision", "estimate_precision", "given_precision"]

PRECISIONS = ("float32", "float16", "bfloat16", "int8", "int4", "sign", "N decimals", "noise:SIGMA")
DECIMALS = range(1, 6)  # float32 has about seven digits: more decimals than five are no rounding worth a word
LEVELS = 256  # of a grid: more than 8 bits of codes are finer than decimals are told apart by
MANTISSA = {"float16": 11, "bfloat16": 8}  # bits, the hidden one included
ROUNDED, GAUSSIAN = 0.8, 2.0  # variance of the squared error of a value, over its mean's square
SIGMAS = 4.0  # of chance that are allowed for in the sum over values
ALIGNED = 2e-3  # of a step: how far float32 leaves a value from its grid
LEAST = 16  # values that a grid is told from
HIDES = 1e-3  # of a similarity: where rounding may take more, other inputs come as near as the exact one
SIGN_LOSS = 1 - math.sqrt(2 / math.pi)  # 1 − cosine of a Gaussian vector and its signs


@dataclass(frozen=True)
class Precision:
    """The precision of N vectors: its `names`, and what rounding does to the similarity of the exact input.

    `loss` `[N]` is the expected 1 − cosine between a vector as given and as the embedder computed it; `most` `[N]` is
    what chance may make of it (four standard deviations). Both are 0 for vectors in float32.
    """

    names: tuple[str, ...]
    loss: Tensor
    most: Tensor

    @property
    def summary(self) -> str | None:
        """The kinds other than float32 with their counts, as one phrase; None where there is none."""
        kinds = {name: self.names.count(name) for name in sorted(set(self.names)) if name != "float32"}
        if not kinds:
            return None
        return ", ".join(name if count == len(self.names) else f"{name} ({count})" for name, count in kinds.items())

    @property
    def slack(self) -> Tensor:
        """How far from 1 a similarity `[N]` still means arrival: `most`, and 0 where other inputs come as near."""
        return self.most.masked_fill(self.most > HIDES, 0.0)

    def __getitem__(self, rows: slice) -> "Precision":
        return Precision(self.names[rows], self.loss[rows], self.most[rows])

    def noise(self, dimension: int) -> float | None:
        """The standard deviation of a value's error, the vectors scaled to length 1, where all are rounded alike.

        None where they aren't, and where all are in float32.
        """
        if len(set(self.names)) != 1 or self.names[0] == "float32":
            return None
        return float((2 * self.loss / dimension).sqrt().median())

    def corrected(self, similarity: Tensor) -> Tensor:
        """Similarities `[N]` as they may be without rounding: what rounding alone can take is given back."""
        return _given_back(similarity, self.most)

    def assured(self, similarity: Tensor) -> Tensor:
        """The same of rounding so fine that it hides no other input; of coarser, the similarities as they are."""
        return _given_back(similarity, self.slack)


def estimate_precision(vectors: Tensor) -> Precision:
    """Estimate how precisely each of `vectors` `[N, D]` (float32) is given, from its digits alone.

    Tells float16, bfloat16, decimals, grids of at most 256 levels (8- and 4-bit codes with any scale and offset, scaled
    back or not) and signs. Noise leaves no trace in the digits of a vector: give it (`given_precision`).
    """
    rows = vectors.detach().double().cpu()
    names, losses = [], []
    for row, suspect in zip(rows, _suspects(rows).tolist(), strict=True):
        name, step = _grid(row) if suspect else ("float32", 0.0)
        squares = float(row.square().sum())
        error = len(row) * step**2 / 12 if name not in MANTISSA else _floating(row, MANTISSA[name])
        names.append(name)
        losses.append(SIGN_LOSS if name == "sign" else error / (2 * squares) if squares else 0.0)
    return _precision(names, losses, vectors, ROUNDED)


def given_precision(name: str, vectors: Tensor) -> Precision:
    """The precision `name` of `vectors` `[N, D]`, one of `PRECISIONS`: `noise:0.01` is Gaussian noise of that standard
    deviation on each value, `3 decimals` rounding, `float32` none. Raises InputError.
    """
    kind, _, argument = name.partition(":")
    squares = vectors.double().square().sum(1).cpu().clamp_min(1e-30)
    if kind == "noise":
        try:
            sigma = float(argument)
        except ValueError:
            sigma = math.nan
        if not (math.isfinite(sigma) and sigma >= 0):
            raise InputError(f"noise takes a standard deviation per value, as in noise:0.01; got {name!r}")
        losses = (vectors.shape[1] * sigma**2 / (2 * squares)).tolist()
        return _precision([name] * len(vectors), losses, vectors, GAUSSIAN)
    if kind == "float32":
        return _precision(["float32"] * len(vectors), [0.0] * len(vectors), vectors, ROUNDED)
    found = estimate_precision(vectors)
    number, _, word = name.partition(" ")
    if word in ("decimal", "decimals") and number.isdigit():
        loss = vectors.shape[1] * 10.0 ** (-2 * int(number)) / 12 / (2 * squares)
    elif name in MANTISSA:
        loss = torch.tensor([_floating(row, MANTISSA[name]) for row in vectors.double().cpu()]) / (2 * squares)
    elif name in ("int8", "int4"):
        step = vectors.double().abs().amax(1).cpu() / (127 if name == "int8" else 7)
        loss = vectors.shape[1] * step**2 / 12 / (2 * squares)
    elif name == "sign":
        loss = torch.full_like(squares, SIGN_LOSS)
    else:
        raise InputError(f"no precision {name!r}; known: {', '.join(PRECISIONS)}")
    # What the digits show counts where it is coarser than what was said.
    loss = torch.maximum(loss, found.loss.double().cpu())
    return _precision([name] * len(vectors), loss.tolist(), vectors, ROUNDED)


def _given_back(similarity: Tensor, loss: Tensor) -> Tensor:
    return similarity + (1 - similarity).clamp_min(0).minimum(loss.to(similarity.device))


def _precision(names: Sequence[str], losses: Sequence[float], vectors: Tensor, spread: float) -> Precision:
    loss = torch.tensor(losses, dtype=torch.float32, device=vectors.device)
    return Precision(tuple(names), loss, loss * (1 + SIGMAS * math.sqrt(spread / max(1, vectors.shape[1]))))


def _floating(row: Tensor, bits: int) -> float:
    """The expected squared error of rounding each value of `row` to so many bits of mantissa."""
    unit = torch.exp2(torch.frexp(row).exponent.double() - bits)
    return float((unit.square() / 12).sum())


def _suspects(rows: Tensor) -> Tensor:
    """The rows `[N, D]` that may lie on a grid, `[N]`: most vectors don't, and are told together."""
    ordered = rows.sort(1).values
    gaps = ordered.diff(dim=1)
    least = gaps.masked_fill(gaps == 0, math.inf).amin(1) if gaps.shape[1] else rows.new_zeros(len(rows))
    found = (ordered[:, -1] - ordered[:, 0]) <= 2 * LEVELS * least
    single = rows.float()
    for short in (single.bfloat16(), single.half()):
        found |= (short.float() == single).all(1)
    for places in DECIMALS:
        found |= _decimal(rows, places).all(1)
    return found


def _decimal(values: Tensor, places: int) -> Tensor:
    """Which values have so many decimals, as far as float32 can tell."""
    scaled = values * 10.0**places
    return (scaled - scaled.round()).abs() <= 10.0**places * values.abs() * 2.0**-22 + 1e-9


def _grid(row: Tensor) -> tuple[str, float]:
    """The name of the grid that all values of a row `[D]` lie on, and its step; ("float32", 0) for none."""
    values = row[row != 0]
    levels = torch.unique(row)
    if len(levels) == 2 and len(row) >= LEAST:
        return "sign", float(levels[1] - levels[0])
    if len(levels) < LEAST // 4 or len(values) < LEAST:
        return "float32", 0.0
    single = row.float()
    whole = torch.equal(row, row.round())
    for places in () if whole else DECIMALS:
        if bool(_decimal(row, places).all()):
            return f"{places} decimal{'s' if places > 1 else ''}", 10.0**-places
    if len(levels) <= LEVELS:
        step = _step(levels)
        if step:
            count = float(levels[-1] - levels[0]) / step
            return ("int4" if count <= 16 else "int8"), step
    if torch.equal(single.bfloat16().float(), single):
        return "bfloat16", 0.0
    if torch.equal(single.half().float(), single):
        return "float16", 0.0
    return "float32", 0.0


def _step(levels: Tensor) -> float | None:
    """The step of the grid that sorted `levels` `[U]` lie on, None where they lie on none of at most 256 levels."""
    gaps = levels.diff()
    step = float(gaps.min())
    span = float(levels[-1] - levels[0])
    if step <= 0 or span / step > 2 * LEVELS:
        return None
    for _ in range(3):  # the least gap says the step roughly; the places that it gives say it better
        places = ((levels - levels[0]) / step).round()
        if float(places[-1]) < 1:
            return None
        step = float(((levels - levels[0]) * places).sum() / places.square().sum())
    off = ((levels - levels[0]) / step - places).abs().max()
    return step if float(off) < ALIGNED * max(1.0, span / step / 64) else None
