"""Training windows: one to `longest` tokens from sentence starts, and some from anywhere."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["Windows"]


class Windows:
    """Windows over tokenised passages, in batches of about one token count and little padding."""

    def __init__(
        self,
        passages: Sequence[str],
        tokenizer: Any,
        *,
        longest: int,
        buckets: int,
        anywhere: float,
        batch_tokens: int,
    ) -> None:
        self.longest = longest
        self.buckets = buckets
        self.anywhere = anywhere
        self.batch_tokens = batch_tokens
        self.pad = tokenizer.pad_token_id
        ids: list[Tensor] = []
        for start in range(0, len(passages), 20_000):
            chunk = list(passages[start : start + 20_000])
            encoded = tokenizer(chunk, add_special_tokens=False, verbose=False)["input_ids"]
            ids += [torch.tensor(row, dtype=torch.int32) for row in encoded if row]
        self.tokens = torch.cat(ids)
        self.ends = torch.tensor([len(row) for row in ids]).cumsum(0)
        stops = torch.tensor(tokenizer.convert_tokens_to_ids([".", "!", "?"]), dtype=torch.int32)
        first = torch.zeros(len(self.tokens), dtype=torch.bool)
        first[1:] = torch.isin(self.tokens[:-1], stops)
        first[0] = True
        first[self.ends[:-1]] = True
        self.starts = first.nonzero().squeeze(1)

    def batch(self, generator: torch.Generator) -> Tensor:
        """One batch of ids `[N, L]`, padded: lengths from one bucket, N such that N·(L+8) is about constant."""
        size = self.longest // self.buckets
        bucket = int(torch.randint(self.buckets, (), generator=generator))
        top = size * (bucket + 1)
        rows = max(1, self.batch_tokens // (top + 8))
        pick = torch.randint(len(self.starts), (rows,), generator=generator)
        start = self.starts[pick]
        free = torch.randint(len(self.tokens), (rows,), generator=generator)
        start = torch.where(torch.rand(rows, generator=generator) < self.anywhere, free, start)
        length = torch.randint(size * bucket + 1, top + 1, (rows,), generator=generator)
        end = self.ends[torch.searchsorted(self.ends, start, right=True)]
        index = start[:, None] + torch.arange(top)
        inside = (torch.arange(top) < length[:, None]) & (index < end[:, None])
        index = index.clamp_max(len(self.tokens) - 1)
        return self.tokens[index].long().masked_fill(~inside, self.pad)
