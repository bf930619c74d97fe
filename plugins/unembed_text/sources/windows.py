"""Training windows: one to `longest` tokens from sentence starts, and some from anywhere, mixed by kind of text."""

import logging
import os
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise
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
    tops: list[Annotated[int, Field(ge=1)]] | None = Field(
        None, description="longest window of each share's range, if they aren't equal"
    )
    balance: float = Field(1.0, ge=0, description="a kind of text is drawn as its sentences' number to this power")
    portions: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        {}, description="shares of the windows of kinds that have one of their own"
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
    if config.tops is None and len(config.shares) > longest:
        raise ConfigError(f"[recipe] shares: {len(config.shares)} ranges of length are too many for {longest} tokens")
    for path in config.validation:  # read later, and missed too late
        if not path.exists():
            raise InputError(f"no file {path}, which [recipe] validation names")
    passages: list[str] = []
    kinds: list[str] = []
    for path in config.train:
        log.info("reading %s", path)
        found = read_passages(path)
        passages += found
        kinds += _kinds(path, len(found)) if config.balance != 1 or config.portions else [""] * len(found)
    if unknown := set(config.portions) - set(kinds):
        raise ConfigError(f"portions of {sorted(unknown)}, of which there is no text; there is {sorted(set(kinds))}")
    # A launcher for several processes, such as torchrun, says so: each splits and draws from a share of its own.
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if len(passages) < processes:
        raise ConfigError(f"{len(passages)} passages are too few for {processes} processes, which take a share each")
    passages, kinds = passages[rank::processes], kinds[rank::processes]
    log.info("splitting %d passages into tokens", len(passages))
    return Windows(
        passages,
        tokenizer,
        longest=longest,
        shares=config.shares,
        tops=config.tops,
        anywhere=config.anywhere,
        spliced=config.spliced,
        batch_tokens=config.batch_tokens,
        device=config.device,
        kinds=kinds,
        balance=config.balance,
        portions=config.portions,
    )


def _kinds(path: Path, count: int) -> list[str]:
    """The kinds of a file's passages: their sources up to a slash, or for all the file's name."""
    if path.suffix != ".parquet":
        return [path.stem] * count
    try:
        sources = read_passages(path, column="source")
    except InputError:  # the texts were read before: it has no such column
        return [path.stem] * count
    if len(sources) != count:
        raise ConfigError(f"{path} has {count} texts and {len(sources)} sources; give each text its source, or none")
    return [source.partition("/")[0] for source in sources]


class Windows:
    """Windows over tokenised passages, in batches of about one token count and little padding."""

    def __init__(
        self,
        passages: Sequence[str],
        tokenizer: Any,
        *,
        longest: int,
        shares: Sequence[float],
        tops: Sequence[int] | None = None,
        anywhere: float,
        spliced: float = 0.0,
        batch_tokens: int,
        device: torch.device | str = "cpu",
        kinds: Sequence[str] | None = None,
        balance: float = 1.0,
        portions: Mapping[str, float] | None = None,
    ) -> None:
        self.tops = [longest // len(shares) * (index + 1) for index in range(len(shares))] if tops is None else tops
        if len(self.tops) != len(shares) or any(a >= b for a, b in pairwise([0, *self.tops])):
            raise ConfigError(f"tops {self.tops} aren't {len(shares)} lengths that rise, one for each of the shares")
        kinds = [""] * len(passages) if kinds is None else kinds
        order = sorted(range(len(passages)), key=kinds.__getitem__)
        passages = [passages[index] for index in order]
        self.shares = torch.tensor(shares, dtype=torch.float64)
        self.anywhere = anywhere
        self.spliced = spliced
        self.batch_tokens = batch_tokens
        self.pad = tokenizer.pad_token_id
        lengths: list[int] = []
        filled: list[str] = []
        chunks: list[Tensor] = []
        for start in range(0, len(passages), 20_000):
            texts = list(passages[start : start + 20_000])
            rows = [row.ids for row in tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
            lengths += [len(row) for row in rows if row]
            filled += [kinds[index] for index, row in zip(order[start : start + 20_000], rows, strict=True) if row]
            chunks.append(torch.from_numpy(np.fromiter(chain.from_iterable(rows), dtype=np.int32)))
        tokens, self.ends = torch.cat(chunks), torch.tensor(lengths).cumsum(0)
        stops = torch.tensor(tokenizer.convert_tokens_to_ids([".", "!", "?"]), dtype=torch.int32)
        first = torch.zeros(len(tokens), dtype=torch.bool)
        first[1:] = torch.isin(tokens[:-1], stops)
        first[0] = True
        first[self.ends[:-1]] = True
        self.starts = first.nonzero().squeeze(1)
        # Where the tokens and the starts of each kind end, which lie together.
        names, counts = np.unique(filled, return_counts=True)
        token_ends = self.ends[torch.from_numpy(counts).cumsum(0) - 1]
        self.spans = {"tokens": token_ends, "starts": torch.searchsorted(self.starts, token_ends)}
        sizes = self.spans["starts"].diff(prepend=torch.zeros(1, dtype=torch.long)).double() ** balance
        given = torch.tensor([(portions or {}).get(name, 0.0) for name in names.tolist()], dtype=torch.float64)
        free = sizes.masked_fill(given > 0, 0.0)
        self.kinds = names.tolist()
        self.weights = given + free / free.sum().clamp_min(1e-9) * (1 - given.sum())
        self.tokens, self.ends, self.starts = tokens.to(device), self.ends.to(device), self.starts.to(device)

    def batches(self, count: int, generator: torch.Generator) -> list[Tensor]:
        """Batches of ids `[N, L]`, padded: lengths from one range each, N such that N·(L+8) is about constant.

        Of each range as many as its share says, give or take one: so processes that draw apart have like batches.
        """
        places = (torch.arange(count) + torch.rand(1, generator=generator, dtype=torch.float64)) / count
        ends = (self.shares / self.shares.sum()).cumsum(0)[:-1]
        return [self._batch(bucket, generator) for bucket in torch.searchsorted(ends, places).tolist()]

    def _batch(self, bucket: int, generator: torch.Generator) -> Tensor:
        low, top = [0, *self.tops][bucket : bucket + 2]
        rows = max(1, self.batch_tokens // (top + 8) // 8 * 8)  # matrix units want sides that are multiples of 8
        # All randomness is the CPU generator's, so that every device draws the same windows.
        kind = torch.multinomial(self.weights, rows, replacement=True, generator=generator)
        pick = self._drawn("starts", kind, generator)
        free = self._drawn("tokens", kind, generator)
        anywhere = torch.rand(rows, generator=generator) < self.anywhere
        length = torch.randint(low + 1, top + 1, (rows,), generator=generator)
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

    def _drawn(self, what: str, kind: Tensor, generator: torch.Generator) -> Tensor:
        """One of the tokens or starts of each `kind` `[N]`."""
        end = self.spans[what]
        begin = torch.cat([end.new_zeros(1), end[:-1]])[kind]
        share = torch.rand(len(kind), generator=generator, dtype=torch.float64)
        return begin + (share * (end[kind] - begin)).long()

    def _window(self, start: Tensor, top: int) -> tuple[Tensor, Tensor]:
        """Places `[N, top]` of the tokens from `start` on, and whether they are of one passage."""
        end = self.ends[torch.searchsorted(self.ends, start, right=True)]
        index = start[:, None] + torch.arange(top, device=start.device)
        return index.clamp_max(len(self.tokens) - 1), index < end[:, None]
