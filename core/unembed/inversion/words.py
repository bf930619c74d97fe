"""From the candidates that came nearest to the probability that a word of the reconstruction is in the input.

A candidate without a word that is hardly further from the vector than the best one speaks against that word; if all
that come near agree on it, it is probably right.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor

from unembed.config import Config
from unembed.errors import InputError

__all__ = ["NEAREST", "FoundWords", "WordCalibration", "WordEvidence", "calibrate_words", "present", "word_evidence"]

NEAREST = 32  # candidates that are compared
LEAST = 1e-4  # of a gap of similarity, below which it is none
FEATURES = 4

FoundWords = tuple[tuple[str, float], ...]  # the words of a reconstruction in order, each with its probability


@dataclass(frozen=True)
class WordEvidence:
    """The words of N reconstructions, and what speaks for each: `features` `[W, 4]`, float64, in the words' order.

    In order: the share of the nearest candidates that have the word; the logarithm of how much further the nearest
    candidate without it is, over what keeps the best from the vector; the logarithm of what keeps the best from it
    beyond the vector's rounding; and that of what rounding takes.
    """

    words: tuple[tuple[str, ...], ...]
    features: Tensor


class WordCalibration(Config):
    """A logistic regression on `WordEvidence.features`, fitted to `n` words: a bias, then a weight for each."""

    weights: list[float] = Field(min_length=FEATURES + 1, max_length=FEATURES + 1)
    n: int = Field(ge=1)

    def probabilities(self, evidence: WordEvidence) -> Tensor:
        """The probability of each word of `evidence`, float64 `[W]`."""
        bias, *weights = self.weights
        return torch.sigmoid(evidence.features @ torch.tensor(weights, dtype=torch.float64) + bias)

    def found(self, evidence: WordEvidence) -> tuple[FoundWords, ...]:
        """The words of each reconstruction with their probabilities."""
        each = self.probabilities(evidence).tolist()
        ends = torch.tensor([0, *(len(words) for words in evidence.words)]).cumsum(0).tolist()
        return tuple(
            tuple(zip(words, each[start:end], strict=True))
            for words, (start, end) in zip(evidence.words, pairwise(ends), strict=True)
        )


def word_evidence(
    word: str,
    objects: Sequence[str],
    nearest: Sequence[Sequence[str]],
    similarity: Sequence[Sequence[float]],
    *,
    loss: Sequence[float],
    most: Sequence[float],
) -> WordEvidence:
    """What speaks for each word of N `objects`, given their `nearest` candidates, best first, and those' similarities.

    `word` is the codec's regular expression; `loss` and `most` `[N]` are what rounding takes from a similarity
    (`Precision`).
    """
    features: list[list[float]] = []
    rows = zip(objects, nearest, similarity, loss, most, strict=True)
    found = [re.findall(word, text) for text in objects]
    for words, (_, texts, similarities, lost, at_most) in zip(found, rows, strict=True):
        have = [Counter(re.findall(word, text)) for text in texts]
        off = max(0.0, 1 - similarities[0] - at_most)
        scale = off + lost + LEAST
        for item, number in zip(words, _numbers(words), strict=True):
            holds = [counts[item] >= number for counts in have]
            without = max(
                (s for s, held in zip(similarities, holds, strict=True) if not held), default=similarities[-1]
            )
            gap = (similarities[0] - without) / scale
            features.append(
                [
                    sum(holds) / len(holds),
                    math.log(max(gap, 0.0) + 0.01),
                    math.log(off + LEAST),
                    math.log(lost + LEAST),
                ]
            )
    return WordEvidence(
        tuple(map(tuple, found)), torch.tensor(features, dtype=torch.float64).reshape(len(features), FEATURES)
    )


def present(word: str, objects: Sequence[str], originals: Sequence[str]) -> Tensor:
    """Which words of N `objects` are in their originals, each as often as it is there: bool `[W]`."""
    right: list[bool] = []
    for text, original in zip(objects, originals, strict=True):
        words, there = re.findall(word, text), Counter(re.findall(word, original))
        right += [there[item] >= number for item, number in zip(words, _numbers(words), strict=True)]
    return torch.tensor(right, dtype=torch.bool)


def calibrate_words(features: Tensor, right: Tensor) -> WordCalibration:
    """Fit a `WordCalibration` to the evidence `[W, 4]` of words and whether each is right `[W]`.

    Raises InputError unless some words are right and some are not.
    """
    if not (len(right) and bool(right.any()) and not bool(right.all())):
        raise InputError(
            f"a calibration of words needs right and wrong ones; {int(right.sum())} of {len(right)} are right: use "
            "other lengths or another effort"
        )
    middle, spread = features.mean(0), features.std(0, correction=0)
    spread = torch.where(spread > 1e-6, spread, torch.inf)  # what never changes tells nothing
    given, wanted = (features - middle) / spread, right.double()
    weights = torch.zeros(FEATURES + 1, dtype=torch.float64)
    given = torch.cat([torch.ones_like(given[:, :1]), given], 1)
    for _ in range(50):  # Newton's method; the small ridge keeps separable words from infinite weights
        chance = torch.sigmoid(given @ weights)
        ridge = torch.full_like(weights, 1e-4 * len(right)).index_fill_(0, torch.tensor([0]), 0.0)
        slope = given.T @ (chance - wanted) + ridge * weights
        curve = (given * (chance * (1 - chance))[:, None]).T @ given + torch.diag(ridge + 1e-9)
        step = torch.linalg.solve(curve, slope)
        weights = weights - step * min(1.0, 4.0 / float(step.abs().max().clamp_min(1e-9)))
        if float(step.abs().max()) < 1e-8:
            break
    scaled = weights[1:] / spread
    return WordCalibration(weights=[float(weights[0] - scaled @ middle), *scaled.tolist()], n=len(right))


def _numbers(words: Sequence[str]) -> list[int]:
    """Of each word, how often it has stood by then."""
    counts: Counter[str] = Counter()
    numbers = []
    for item in words:
        counts[item] += 1
        numbers.append(counts[item])
    return numbers
