"""Whole prompts in batches of like length, mixed by the files they come from."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unembed.errors import ConfigError, InputError
from unembed.sources.passages import read_passages
from unembed_lm.codec import plain_ids
from unembed_lm.layout import ABSENT, joined
from unembed_lm.prompts.apart import HeldPrompts
from unembed_text.toolkit import filled

__all__ = ["PromptBatches", "read_prompts"]

log = logging.getLogger("unembed.training")

BAND = 8  # lengths in a batch: padding costs less than batches of all shapes
AROUND = 40  # tokens that a prompt costs beside its own: what stands around it, and the steps of its answer
CHUNK = 20_000


def read_prompts(
    files: Sequence[Path], tokenizer: Any, *, longest: int, apart: Sequence[Path] = ()
) -> list[tuple[str, list[list[int]]]]:
    """The prompts of each file of up to `longest` tokens, as ids; a process's share of them under a launcher.

    Those that share a run of words with prompts of the files `apart` are left out. Raises InputError for files that
    aren't there or hold none so short.
    """
    held = HeldPrompts(text for path in apart for text in read_passages(path)) if apart else None
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    found = []
    for path in files:
        log.info("reading %s", path)
        texts = read_passages(path)[rank::processes]
        if held is not None:
            kept = [text for text in texts if not held.overlap(text)]
            log.info("%d of %d prompts share a run of words with those kept apart", len(texts) - len(kept), len(texts))
            texts = kept
        rows: list[list[int]] = []
        for start in range(0, len(texts), CHUNK):
            part = plain_ids(tokenizer, texts[start : start + CHUNK])
            rows += [ids for ids in part if 1 <= len(ids) <= longest]
        if not rows:
            raise InputError(f"{path} holds no prompt of up to {longest} tokens")
        found.append((path.stem, rows))
    return found


class PromptBatches:
    """Draws batches of signals `[N, L + steps]`; a file has the share of the draws that `portions` gives its name.

    The others have shares as the numbers of their prompts.
    """

    def __init__(
        self,
        files: Sequence[tuple[str, Sequence[Sequence[int]]]],
        *,
        steps: int,
        batch_tokens: int,
        portions: Mapping[str, float],
    ) -> None:
        names = [name for name, _ in files]
        if unknown := set(portions) - set(names):
            raise ConfigError(f"[recipe] portions: no file is called {sorted(unknown)}; there are {sorted(set(names))}")
        free = sum(len(rows) for name, rows in files if name not in portions)
        given = sum(portions.values())
        if given > 1 + 1e-9 or (free == 0 and given < 1 - 1e-9):
            raise ConfigError(f"[recipe] portions: they add up to {given:g}; what no file has must be left to others")
        self.steps, self.batch_tokens = steps, batch_tokens
        rows = [ids for _, part in files for ids in part]
        weight = [
            (portions[name] if name in portions else (1 - given) * len(part) / free) / len(part)
            for name, part in files
            for _ in part
        ]
        lengths = torch.tensor([len(ids) for ids in rows])
        order = lengths.argsort(stable=True)
        self.rows = [rows[index] for index in order.tolist()]
        heap = torch.tensor(weight, dtype=torch.float64)[order].cumsum(0)
        band = (lengths[order] - 1) // BAND
        self.bands = [(int(place), int(place) + int(count)) for place, count in _runs(band)]
        self.heap = torch.cat([heap.new_zeros(1), heap])

    def batches(self, count: int, generator: torch.Generator) -> list[Tensor]:
        """`count` batches; of each range of lengths as many as its share says, give or take one."""
        places = (torch.arange(count) + torch.rand(1, generator=generator, dtype=torch.float64)) / count
        ends = torch.stack([self.heap[end] for _, end in self.bands])
        which = torch.searchsorted(ends / ends[-1], places).clamp_max(len(self.bands) - 1)
        return [self._batch(band, generator) for band in which.tolist()]

    def _batch(self, band: int, generator: torch.Generator) -> Tensor:
        start, end = self.bands[band]
        longest = len(self.rows[end - 1])
        count = max(8, self.batch_tokens // (longest + AROUND) // 8 * 8)
        low, high = self.heap[start], self.heap[end]
        at = low + torch.rand(count, generator=generator, dtype=torch.float64) * (high - low)
        pick = (torch.searchsorted(self.heap, at, right=True) - 1).clamp(start, end - 1)
        prompts = filled([self.rows[index] for index in pick.tolist()], longest, ABSENT)
        return joined(prompts, torch.full((count, self.steps), ABSENT))


def _runs(values: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Where each run of equal values begins, and how long it is."""
    _, counts = values.unique_consecutive(return_counts=True)
    return list(zip(counts.cumsum(0) - counts, counts, strict=True))
