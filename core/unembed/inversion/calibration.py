"""From the similarity that a search reached to the probability that it found the very input, and to a verdict."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any

import torch
from pydantic import Field, model_validator
from torch import Tensor

from unembed.config import Config
from unembed.contract.codec import Codec, SequenceCodec
from unembed.errors import InputError
from unembed.inversion.words import WordCalibration

__all__ = ["Calibration", "calibrate", "calibration_counts", "calibration_error", "floor_below", "verdicts"]

BINS = 10
ROUNDING = 1e-7  # of a cosine in float32
MARGIN = 0.05  # between the lowest similarity measured and one that no true embedding ends at


class Calibration(Config):
    """A rising step function, measured on `n` inversions: `probability[i]` holds from `similarity[i]` on.

    `floor` is a similarity that inversions of true embeddings, of any length measured, don't fall below. `words` says
    how sure each word is.
    """

    similarity: list[float] = Field(min_length=1)
    probability: list[Annotated[float, Field(ge=0, le=1)]] = Field(min_length=1)
    n: int = Field(ge=1)
    floor: float | None = Field(None, ge=-1, le=1)
    words: WordCalibration | None = None

    @model_validator(mode="after")
    def _rises(self) -> "Calibration":
        if len(self.similarity) != len(self.probability):
            raise ValueError("each similarity has one probability")
        for name, values in (("similarity", self.similarity), ("probability", self.probability)):
            if values != sorted(values):
                raise ValueError(f"{name} falls where it must rise")
        return self

    def confidence(self, similarity: Tensor) -> Tensor:
        """The probability of an exact result for each similarity `[N]` (NaN for NaN), float32 `[N]`, same device."""
        knots, values = (torch.tensor(x, dtype=torch.float64) for x in (self.similarity, self.probability))
        place = torch.searchsorted(knots, similarity.double().cpu(), right=True) - 1
        found = values[place.clamp_min(0)].float().to(similarity.device)
        return found.masked_fill(similarity.isnan(), torch.nan)

    def verdicts(self, similarity: Tensor) -> tuple[str | None, ...]:
        """ "unlike" for each similarity `[N]` that no embedding ends at which the embedder itself made, else None."""
        floor = -math.inf if self.floor is None else self.floor
        return tuple("unlike" if value < floor else None for value in similarity.tolist())


def floor_below(lowest: float) -> float:
    """The floor for a lowest similarity that was measured."""
    return max(-1.0, lowest - MARGIN)


def calibrate(similarity: Tensor, exact: Tensor) -> Calibration:
    """Fit a `Calibration` to the similarities `[N]` and exactness `[N]` of inversions whose originals are known.

    Isotonic regression by pooling adjacent violators (Ayer et al. 1955). A pool's share counts one exact and one
    other result more than were seen, so that no finite sample claims certainty; between two pools the step is
    where 1 − similarity is the geometric mean of what they have, for other hardware rounds a similarity near 1
    otherwise. The floor is a little below the lowest similarity: measure on inputs of all lengths, long ones too.
    Raises InputError without both kinds of result.
    """
    if len(similarity) == 0 or bool(exact.all()) or not bool(exact.any()):
        raise InputError(
            f"a calibration needs results that are exact and results that aren't; {int(exact.sum())} of "
            f"{len(exact)} are exact: use other lengths or another effort"
        )
    value, which = torch.unique(similarity.double().cpu(), return_inverse=True)
    hits = torch.zeros_like(value).index_add_(0, which, exact.double().cpu())
    pools: list[tuple[float, float, float, float]] = []  # lowest and highest similarity, exact ones, all
    for low, hit, size in zip(value.tolist(), hits.tolist(), which.bincount().double().tolist(), strict=True):
        pools.append((low, low, hit, size))
        while len(pools) > 1 and pools[-2][2] * pools[-1][3] >= pools[-1][2] * pools[-2][3]:
            left, right = pools[-2:]
            pools[-2:] = [(left[0], right[1], left[2] + right[2], left[3] + right[3])]
    shares = torch.tensor([(hit + 1) / (size + 2) for _, _, hit, size in pools], dtype=torch.float64)
    gaps = [(max(ROUNDING, 1 - left[1]), max(ROUNDING, 1 - right[0])) for left, right in pairwise(pools)]
    return Calibration(
        similarity=[-1.0, *(1 - math.sqrt(left * right) for left, right in gaps)],
        probability=shares.cummax(0).values.tolist(),
        n=len(similarity),
        floor=floor_below(float(value[0])),
    )


def calibration_counts(confidence: Tensor, exact: Tensor) -> Tensor:
    """Of each result, the counts that `calibration_error` needs: float64 `[N, 11]`."""
    confidence, exact = confidence.double().cpu(), exact.double().cpu()
    inside = torch.nn.functional.one_hot((confidence * BINS).long().clamp_max(BINS - 1), BINS)
    return torch.cat([inside * (confidence - exact)[:, None], torch.ones(len(confidence), 1)], 1)


def calibration_error(sums: Tensor) -> float:
    """Expected calibration error in ten bins of confidence, 0 to 1 (Guo et al. 2017), of summed counts `[11]`."""
    return float(sums[:-1].abs().sum() / sums[-1])


def verdicts(
    objects: Sequence[Any],
    signals: Tensor,
    similarity: Tensor,
    stopped: Sequence[str],
    codec: Codec,
    longest: int | None,
    calibration: "Calibration | None",
) -> tuple[str | None, ...]:
    """The gravest of what is to be said of each result, None where there is nothing.

    `similarity` `[N]` is that without rounding. "unlike" is a vector of none of the embedder's inputs, "longer" an
    unsolved result as long as the inverter writes (`longest`), "unseen" one that the embedder can't tell from others.
    """
    unlike = [None] * len(objects) if calibration is None else list(calibration.verdicts(similarity))
    lengths: dict[int, int] = {}
    unsolved = [row for row, reason in enumerate(stopped) if reason != "solved"]
    if unsolved and longest is not None and isinstance(codec, SequenceCodec):
        lengths = dict(zip(unsolved, codec.lengths([objects[row] for row in unsolved]), strict=True))
    unseen = codec.unseen(signals).tolist()

    def of(row: int) -> str | None:
        if unlike[row] is not None:
            return unlike[row]
        if longest is not None and lengths.get(row, -1) >= longest - 1:
            return "longer"
        return "unseen" if unseen[row] else None

    return tuple(of(row) for row in range(len(objects)))
