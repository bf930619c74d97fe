"""Measuring an inverter: embed known signals, invert their vectors, compare."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import torch
from torch import Tensor

from unembed.defaults import CHUNK_SIZE, EFFORT
from unembed.engine.effort import Effort, Overrides
from unembed.engine.loop import Step
from unembed.errors import InputError, brief
from unembed.inversion.bootstrap import bootstrap, mean
from unembed.inversion.calibration import Calibration, calibration_counts, calibration_error
from unembed.inversion.inverter import Inverter
from unembed.inversion.results import Inversion
from unembed.registry.discovery import read_objects

__all__ = ["Evaluation", "evaluate", "evaluate_steps"]


@dataclass(frozen=True)
class Evaluation:
    """Corpus metrics of N inversions, each with its 95 % bootstrap interval, and the texts (or others) compared.

    `metrics` has the inverter's own (for text `bleu` 0 to 100 and `token_f1`), `exact_match` and
    `similarity` (both 0 to 1), `queries_per_item` and, of a calibrated inverter, `calibration_error`; `seconds` is
    the time of the inversions alone. `similarity` and `exact` are `[N]`.
    """

    metrics: dict[str, float]
    ci: dict[str, tuple[float, float]]
    seconds: float
    references: list[Any]
    reconstructions: list[Any]
    similarity: Tensor
    exact: Tensor

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
    inputs: Tensor | Sequence[Any] | str | os.PathLike[str],
    *,
    effort: str | Effort = EFFORT,
    chunk_size: int | None = None,
    seed: int = 0,
    on_step: Callable[[Step], None] | None = None,
    **overrides: Unpack[Overrides],
) -> Evaluation:
    """Embed `inputs`, invert their embeddings and compare what comes back with them.

    - `inverter`: what `load` gives, or one of your own.
    - `inputs`: N objects (texts; images or their paths); or the path of a file or folder of them, all of which are
      taken; or signals `[N, ...]` of the inverter's codec, as `codec.first(texts, length)` gives for texts cut to so
      many tokens.
    - `effort`, `chunk_size`, `seed`, `on_step` and `overrides` (`steps`, `beam`, `patience`, `max_queries`): those of
      `Inverter.invert`.

    Returns an `Evaluation` of N results. A reconstruction is exact when the embedder can't tell it from the original:
    their signals are equal. Raises InputError for no inputs, for a file that can't be read and for an unknown effort.

    Examples:
        >>> import unembed
        >>> from unembed.testing.toy import toy_inverter
        >>> found = unembed.evaluate(toy_inverter(), ["cafe", "bead"], effort="low")
        >>> found.reconstructions, found.metrics["exact_match"]
        (['cafe', 'bead'], 1.0)
    """
    if isinstance(inputs, str | os.PathLike):
        inputs = _read(inverter, Path(inputs))
    search = inverter.settings(effort, **overrides)
    (found,) = evaluate_steps(
        inverter, inputs, (search.limits.steps,), effort=search, chunk_size=chunk_size, seed=seed, on_step=on_step
    )
    return found


def _read(inverter: Inverter, path: Path) -> list[Any]:
    try:
        there = path.exists()
    except (OSError, ValueError):  # a text that no file can be called
        there = False
    if not there:
        raise InputError(f"no file {brief(path)}; evaluate takes the path of a file of inputs, or a list of inputs")
    return read_objects(inverter, path)


def evaluate_steps(
    inverter: Inverter,
    inputs: Tensor | Sequence[Any],
    steps: Sequence[int],
    *,
    effort: str | Effort = EFFORT,
    chunk_size: int | None = None,
    at_once: int | None = None,
    seed: int = 0,
    on_step: Callable[[Step], None] | None = None,
) -> list[Evaluation]:
    """What `evaluate` gives at each of several numbers of steps, from one search of the most: `len(steps)` results.

    `at_once` inputs are searched together, all if None: a search holds every candidate of a step in memory. Each
    result has the seconds of the whole search.
    """
    if len(inputs) == 0 or not steps:
        raise InputError("there is nothing to evaluate on: no inputs, or no numbers of steps")
    signals = inputs if isinstance(inputs, Tensor) else inverter.codec.encode(inputs)
    few = inverter.codec.decode(signals[:2])
    for metric in inverter.metrics.values():
        metric.statistics(few, few)  # what a measure lacks is found out before the search, not after it
    seconds = 0.0
    search = inverter.settings(effort, steps=max(steps))
    found: list[list[_Found]] = []
    for part in torch.split(signals, at_once or len(signals)):
        vectors = torch.cat([inverter.embedder.embed(rows) for rows in torch.split(part, CHUNK_SIZE)])
        began = time.monotonic()
        inversion = inverter.invert(
            vectors,
            effort=search,
            chunk_size=chunk_size,
            seed=seed,
            on_step=on_step,
            trace=len(set(steps)) > 1,
        )
        seconds += time.monotonic() - began
        found.append([_at(inverter, vectors, inversion, step) for step in steps])
    calibration = None if inverter.manifest is None else inverter.manifest.calibration
    references, results = inverter.codec.decode(signals), []
    for parts in zip(*found, strict=True):
        whole = _Found(*(torch.cat(values) for values in zip(*parts, strict=True)))
        results.append(_measured(inverter, signals, references, whole, calibration, seconds, seed))
    return results


class _Found(NamedTuple):
    """What a search had after some steps."""

    signals: Tensor
    similarity: Tensor
    queries: Tensor


def _at(inverter: Inverter, target: Tensor, inversion: Inversion, step: int) -> _Found:
    """What a search of so many steps would have returned; one that ended early had its result from then on."""
    if inversion.trace is None or step >= len(inversion.trace) - 1:
        return _Found(inversion.signals, inversion.similarity, inversion.queries)
    state = inversion.trace[step]
    found = inverter.returned(target, state.signals, state.similarity, state.queries)
    return _Found(found.signals, found.similarity, found.queries)


def _measured(
    inverter: Inverter,
    signals: Tensor,
    references: list[Any],
    found: _Found,
    calibration: Calibration | None,
    seconds: float,
    seed: int,
) -> Evaluation:
    reconstructions = inverter.codec.decode(found.signals)
    exact = (signals.to(found.signals.device) == found.signals).flatten(1).all(1)
    metrics: dict[str, float] = {}
    ci: dict[str, tuple[float, float]] = {}
    for name, metric in inverter.metrics.items():
        counts = metric.statistics(references, reconstructions)
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
    if calibration is not None:
        counts = calibration_counts(calibration.confidence(found.similarity), exact)
        metrics["calibration_error"] = calibration_error(counts.sum(0))
        ci["calibration_error"] = bootstrap(counts, calibration_error, seed=seed)
    return Evaluation(metrics, ci, seconds, references, reconstructions, found.similarity, exact)
