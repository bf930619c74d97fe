"""The black box as a search asks it: each signal once, within a budget."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from unembed.contract.similarity import Similarity
from unembed.engine.rows import Chunked, Seen, counts, distinct, row_hash
from unembed.engine.state import Ask, Candidates

__all__ = ["BlackBox"]


class BlackBox:
    """Answers what is new to a target, within its budget of `most` queries; `used` counts them, int `[N]`."""

    def __init__(
        self,
        target: Tensor,
        embed: Callable[[Tensor], Tensor],
        similarity: Similarity,
        most: int | None,
        chunked: Chunked,
    ) -> None:
        self.target, self.embed, self.similarity, self.chunked = target, embed, similarity, chunked
        self.seen = Seen(target.device)
        self.used = torch.zeros(len(target), dtype=torch.long, device=target.device)
        self.budget = torch.full_like(self.used, torch.iinfo(torch.long).max if most is None else most)

    def none(self, signals: Tensor) -> Candidates:
        """No candidates, of signals like these."""
        return Candidates(self.used[:0], signals[:0], self.target[:0], self.target[:0, 0], self.used[:0])

    def answer(self, asks: Sequence[Ask]) -> list[Candidates]:
        """The rows of each ask that are new to their target, embedded; a budget is spent in the order of the asks."""
        taken: list[_Taken] = []
        for ask in asks:
            hashed, left = row_hash(ask.signals), self.budget - self.used
            new = self.seen.add_new(ask.owner, hashed, left if ask.most is None else left.clamp_max(ask.most))
            owner = ask.owner[new]
            parent = torch.full_like(new, -1) if ask.parent is None else ask.parent[new]
            self.used += counts(owner, len(self.target))
            taken.append(_Taken(owner, ask.signals[new], hashed[new], parent))
        owner, signals, hashed, parent = (torch.cat(columns) for columns in zip(*taken, strict=True))
        if len(owner) == 0:
            return [self.none(signals) for _ in asks]
        once, which = distinct(hashed)
        embeddings = self.chunked(self.embed, signals[once]).to(self.target.dtype)[which]
        rows = Candidates(owner, signals, embeddings, self.similarity(self.target[owner], embeddings), parent)
        if len(asks) == 1:
            return [rows]
        ends = list(accumulate(len(part.owner) for part in taken))
        return [rows[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


class _Taken(NamedTuple):
    """The rows of an ask that are embedded."""

    owner: Tensor
    signals: Tensor
    hashed: Tensor
    parent: Tensor
