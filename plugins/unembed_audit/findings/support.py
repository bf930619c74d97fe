"""How sure it is that a found value really stood in the original.

The probability that a whole text is exact says little about one of its spans: a record with one word misplaced holds
its telephone number all the same, and a fluent wrong one holds a number that was never there. What tells is whether
the other good candidates of the same search have the span too.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unembed.errors import InputError
from unembed_audit.findings.finding import Finding
from unembed_audit.findings.rejoin import rejoin

__all__ = [
    "SHIPPED", "SpanCalibration", "agreement", "calibration_error", "features_of", "fit", "normalised", "supported",
]  # fmt: skip

SHIPPED = Path(__file__).parent / "support.json"

SHARPNESS = 50.0  # a candidate whose similarity is 0.02 less counts 1/e
RIDGE = 1e-2


def normalised(value: str) -> str:
    """A value as it is compared: lower case, letters and digits alone."""
    return "".join(c for c in value.lower() if c.isalnum())


def agreement(finding: Finding, candidates: Sequence[str], similarity: Sequence[float]) -> float:
    """The share, weighted by similarity, of candidate texts that hold the finding's value: 0 to 1.

    `candidates` are the N best different texts of one search, the finding's own first; the result doesn't count that
    one, which has it anyway. Without others it is NaN.
    """
    others = list(zip(candidates, similarity, strict=True))[1:]
    if not others:
        return math.nan
    wanted, best = normalised(finding.value), max(similarity)
    weights = [math.exp(SHARPNESS * (reached - best)) for _, reached in others]
    held = [wanted in normalised(rejoin(text).text) for text, _ in others]
    return sum(weight for weight, has in zip(weights, held, strict=True) if has) / sum(weights)


@dataclass(frozen=True)
class SpanCalibration:
    """A logistic curve from what is known of a span to the probability that it is right, fitted to `n` spans.

    `weights` are those of: 1, the agreement, log10(1 − similarity), the probability that the whole text is exact,
    whether a check digit fits. `error` is the expected calibration error on spans kept out of the fit; `inverter` is
    whose results it was fitted to, and holds for.
    """

    weights: tuple[float, ...]
    n: int
    error: float
    inverter: str = ""

    def probability(self, features: Sequence[float]) -> float:
        """The probability for the features that `features_of` gives."""
        return float(_sigmoid(np.dot(self.weights, features)))

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "SpanCalibration":
        """Read what `save` wrote; raises InputError."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                tuple(map(float, found["weights"])), int(found["n"]), float(found["error"]), str(found["inverter"])
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} holds no calibration of spans: {error}") from error


def features_of(
    finding: Finding, candidates: Sequence[str], similarity: Sequence[float], confidence: float | None
) -> list[float]:
    """What a `SpanCalibration` looks at; an unknown agreement or confidence counts as one half."""
    agreed = agreement(finding, candidates, similarity)
    gap = math.log10(max(1e-7, 1 - similarity[0]))
    return [
        1.0,
        0.5 if math.isnan(agreed) else agreed,
        gap,
        0.5 if confidence is None else confidence,
        float(finding.by == "checksum"),
    ]


def fit(
    features: NDArray[np.float64], right: NDArray[np.bool_], *, inverter: str = "", seed: int = 0, rounds: int = 50
) -> SpanCalibration:
    """Fit to spans whose truth is known: features `[N, 5]`, whether each was right `[N]`. Raises InputError.

    Newton's method with a slight ridge, on all spans; `error` comes from fitting to one half and looking at the other.
    """
    if len(right) < 20 or right.all() or not right.any():
        raise InputError(f"a calibration of spans needs 20 or more, right ones and wrong ones; got {len(right)}")
    order = np.random.default_rng(seed).permutation(len(right))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    errors = []
    for one, other in (halves, halves[::-1]):
        guess = _sigmoid(features[other] @ _newton(features[one], right[one], rounds))
        errors.append(calibration_error(guess, right[other]))
    weights = tuple(_newton(features, right, rounds).tolist())
    return SpanCalibration(weights, len(right), float(np.mean(errors)), inverter)


def supported(
    findings: Sequence[Finding],
    *,
    candidates: Sequence[str] = (),
    similarity: Sequence[float] = (),
    confidence: float | None = None,
    calibration: SpanCalibration | None = None,
) -> list[Finding]:
    """The findings of one text, each with its `support`.

    By a calibration where there is one and at least two candidates; never less than `confidence`, the probability
    that the whole text is exact. Without either nothing tells, and support stays None.
    """
    found = []
    for finding in findings:
        chance = confidence
        if calibration is not None and len(candidates) > 1:
            told = calibration.probability(features_of(finding, candidates, similarity, confidence))
            chance = told if confidence is None else max(told, confidence)
        found.append(replace(finding, support=chance))
    return found


def _newton(features: NDArray[np.float64], right: NDArray[np.bool_], rounds: int) -> NDArray[np.float64]:
    weights = np.zeros(features.shape[1])
    ridge = RIDGE * np.eye(features.shape[1])
    for _ in range(rounds):
        guess = _sigmoid(features @ weights)
        slope = features.T @ (right - guess) - ridge @ weights
        curve = (features * (guess * (1 - guess))[:, None]).T @ features + ridge
        step = np.linalg.solve(curve, slope)
        weights = weights + step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _sigmoid(value: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(value, -30, 30)))
    return clipped


def calibration_error(guess: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error in ten bins (Guo et al. 2017)."""
    place = np.minimum((guess * 10).astype(int), 9)
    gaps = [abs(float((guess[place == b] - right[place == b]).sum())) for b in range(10)]
    return sum(gaps) / len(right)
