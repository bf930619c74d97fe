"""Training windows: one to `longest` tokens from sentence starts, and some from anywhere."""

import logging
import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from unembed.checkpoints.manifest import Storage
from unembed.config import Config
from unembed.errors import ConfigError, InputError
from unembed.sources.passages import read_passages

__all__ = ["TextsConfig", "Windows", "read_windows"]

log = logging.getLogger("unembed.training")


class TextsConfig(Config):
    """What the `[recipe]` tables of the text recipes share."""

    name: str = Field(min_length=1)
    embedder: str = Field(min_length=1)
    train: list[Path] = Field(min_length=1)
    validation: list[Path] = Field(min_length=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    shares: list[Annotated[float, Field(ge=0)]] = Field(
        [1, 1, 1, 1], min_length=1, description="of batches, for equal ranges of length"
    )
    anywhere: float = Field(0.15, ge=0, le=1, description="share of windows that start anywhere, not at a sentence")
    spliced: float = Field(0.0, ge=0, le=1, description="share of windows that go on, from any token, with another's")
    batch_tokens: int = Field(8192, gt=0, le=10_000_000)
    layers: int | None = Field(None, ge=1, le=1_000, description="keep only so many layers of each half (small runs)")
    held_out: int = Field(128, ge=1, le=1_000_000, description="validation windows a length")
    storage: Storage = "float16"
    device: str
    seed: int

    @field_validator("shares")
    @classmethod
    def _some_share(cls, value: list[float]) -> list[float]:
        if sum(value) <= 0:
            raise ValueError("one of them must be above 0")
        return value


def read_windows(config: TextsConfig, tokenizer: Any, *, longest: int) -> "Windows":
    """Windows of up to `longest` tokens over the passages of `config.train`, or a process's share of them.

    Raises ConfigError for shares that `longest` can't have, InputError for files that aren't there or are empty.
    """
    if len(config.shares) > longest:
        raise ConfigError(f"[recipe] shares: {len(config.shares)} ranges of length are too many for {longest} tokens")
    for path in config.validation:  # read later, and missed too late
        if not path.exists():
            raise InputError(f"no file {path}, which [recipe] validation names")
    passages: list[str] = []
    for path in config.train:
        log.info("reading %s", path)
        passages += read_passages(path)
    # A launcher for several processes, such as torchrun, says so: each splits and draws from a share of its own.
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if len(passages) < processes:
        raise ConfigError(f"{len(passages)} passages are too few for {processes} processes, which take a share each")
    passages = passages[rank::processes]
    log.info("splitting %d passages into tokens", len(passages))
    return Windows(
        passages,
        tokenizer,
        longest=longest,
        shares=config.shares,
        anywhere=config.anywhere,
        spliced=config.spliced,
        batch_tokens=config.batch_tokens,
        device=config.device,
    )


class Windows:
    """Windows over tokenised passages, in batches of about one token count and little padding."""

    def __init__(
        self,
        passages: Sequence[str],
        tokenizer: Any,
        *,
        longest: int,
        shares: Sequence[float],
        anywhere: float,
        spliced: float = 0.0,
        batch_tokens: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.longest = longest
        self.shares = torch.tensor(shares, dtype=torch.float64)
        self.anywhere = anywhere
        self.spliced = spliced
        self.batch_tokens = batch_tokens
        self.pad = tokenizer.pad_token_id
        lengths: list[int] = []
        chunks: list[Tensor] = []
        for start in range(0, len(passages), 20_000):
            texts = list(passages[start : start + 20_000])
            rows = [row.ids for row in tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
            lengths += [len(row) for row in rows if row]
            chunks.append(torch.from_numpy(np.fromiter(chain.from_iterable(rows), dtype=np.int32)))
        tokens, self.ends = torch.cat(chunks), torch.tensor(lengths).cumsum(0)
        stops = torch.tensor(tokenizer.convert_tokens_to_ids([".", "!", "?"]), dtype=torch.int32)
        first = torch.zeros(len(tokens), dtype=torch.bool)
        first[1:] = torch.isin(tokens[:-1], stops)
        first[0] = True
        first[self.ends[:-1]] = True
        self.starts = first.nonzero().squeeze(1)
        self.tokens, self.ends, self.starts = tokens.to(device), self.ends.to(device), self.starts.to(device)

    def batches(self, count: int, generator: torch.Generator) -> list[Tensor]:
        """Batches of ids `[N, L]`, padded: lengths from one range each, N such that N·(L+8) is about constant.

        Of each range as many as its share says, give or take one: so processes that draw apart have like batches.
        """
        places = (torch.arange(count) + torch.rand(1, generator=generator, dtype=torch.float64)) / count
        ends = (self.shares / self.shares.sum()).cumsum(0)[:-1]
        return [self._batch(bucket, generator) for bucket in torch.searchsorted(ends, places).tolist()]

    def _batch(self, bucket: int, generator: torch.Generator) -> Tensor:
        size = self.longest // len(self.shares)
        top = size * (bucket + 1)
        rows = max(1, self.batch_tokens // (top + 8) // 8 * 8)  # matrix units want sides that are multiples of 8
        # All randomness is the CPU generator's, so that every device draws the same windows.
        pick = torch.randint(len(self.starts), (rows,), generator=generator)
        free = torch.randint(len(self.tokens), (rows,), generator=generator)
        anywhere = torch.rand(rows, generator=generator) < self.anywhere
        length = torch.randint(size * bucket + 1, top + 1, (rows,), generator=generator)
        pick, free, anywhere, length = (x.to(self.tokens.device) for x in (pick, free, anywhere, length))
        index, inside = self._window(torch.where(anywhere, free, self.starts[pick]), top)
        place = torch.arange(top, device=index.device)
        if self.spliced:
            cut = (torch.rand(rows, generator=generator) * top).long()
            whole = torch.rand(rows, generator=generator) >= self.spliced
            cut = cut.masked_fill(whole, top)[:, None].to(index.device)
            # The other window goes on as it would at this place, so that no passage's beginning marks the seam.
            other, also = self._window(self.starts[pick.roll(1)], top)
            index, inside = torch.where(place < cut, index, other), torch.where(place < cut, inside, also)
        inside = (inside & (place < length[:, None])).cumprod(1).bool()
        return self.tokens[index].long().masked_fill(~inside, self.pad)

    def _window(self, start: Tensor, top: int) -> tuple[Tensor, Tensor]:
        """Places `[N, top]` of the tokens from `start` on, and whether they are of one passage."""
        end = self.ends[torch.searchsorted(self.ends, start, right=True)]
        index = start[:, None] + torch.arange(top, device=start.device)
        return index.clamp_max(len(self.tokens) - 1), index < end[:, None]
