"""Measuring an inverter: embed known signals, invert their vectors, compare."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unembed.defaults import CHUNK_SIZE, EFFORT
from unembed.errors import InputError
from unembed.inverter import Inverter
from unembed.loop import Step
from unembed.metrics import bootstrap, mean

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """Corpus metrics of N inversions, each with its 95 % bootstrap interval, and the texts (or others) compared.

    `metrics` has the inverter's own (for text `bleu` 0 to 100 and `token_f1`), `exact_match` and
    `similarity` (both 0 to 1) and `queries_per_item`; `seconds` is the time of the inversions alone.
    """

    metrics: dict[str, float]
    ci: dict[str, tuple[float, float]]
    seconds: float
    references: list[Any]
    reconstructions: list[Any]

    @property
    def n(self) -> int:
        """How many were inverted."""
        return len(self.references)

    def summary(self) -> dict[str, Any]:
        """All figures as one flat JSON-able object."""
        return {
            "n": self.n,
            **self.metrics,
            "seconds": self.seconds,
            "ci": {name: list(interval) for name, interval in self.ci.items()},
        }


def evaluate(
    inverter: Inverter,
    signals: Tensor,
    *,
    effort: str = EFFORT,
    steps: int | None = None,
    beam: int | None = None,
    max_queries: int | None = None,
    chunk_size: int | None = None,
    seed: int = 0,
    on_step: Callable[[Step], None] | None = None,
) -> Evaluation:
    """Invert the embeddings of `signals` `[N, ...]` and compare what comes back with them.

    `signals` come from the inverter's codec: `codec.encode(objects)`, or `codec.first(passages, length)`.
    A reconstruction is exact when the embedder can't tell it from the original: their signals are equal.
    """
    if len(signals) == 0:
        raise InputError("there is nothing to evaluate on: no signals")
    vectors = torch.cat([inverter.embedder.embed(part) for part in torch.split(signals, CHUNK_SIZE)])
    began = time.monotonic()
    found = inverter.invert(
        vectors,
        effort=effort,
        steps=steps,
        beam=beam,
        max_queries=max_queries,
        chunk_size=chunk_size,
        seed=seed,
        on_step=on_step,
    )
    seconds = time.monotonic() - began
    references = inverter.codec.decode(signals)
    exact = (signals.to(found.signals.device) == found.signals).flatten(1).all(1)
    metrics: dict[str, float] = {}
    ci: dict[str, tuple[float, float]] = {}
    for name, metric in inverter.metrics.items():
        counts = metric.statistics(references, found.objects)
        metrics[name] = metric.aggregate(counts.sum(0))
        ci[name] = bootstrap(counts, metric.aggregate, seed=seed)
    for name, values in (
        ("exact_match", exact),
        ("similarity", found.similarity),
        ("queries_per_item", found.queries),
    ):
        column = values.double().cpu()
        counts = torch.stack([column, torch.ones_like(column)], 1)
        metrics[name] = mean(counts.sum(0))
        ci[name] = bootstrap(counts, mean, seed=seed)
    return Evaluation(metrics, ci, seconds, references, found.objects)
