"""The one loop: guess, re-embed, correct, repeat, over opaque signal batches.

A generalisation of the sequence-level beam of vec2text (Morris et al. 2023, section 4) to any signal. Rows
are flat, each with the index of the target that it belongs to, so no target is padded to another's beam.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unembed._rows import Chunked, best_of_each, distinct, first_of_each, rank_within, row_hash
from unembed.defaults import BEAM, CHUNK_SIZE, PATIENCE, STEPS
from unembed.interfaces import Similarity, cosine

__all__ = ["SearchResult", "Step", "search"]


REACH = 4  # edits listed for each one taken

Proposal = Callable[[Tensor, Tensor, Tensor, int, torch.Generator], Tensor]


@dataclass(frozen=True)
class Step:
    """The state after one round; round 0 is the hypothesizer's. Tensors are `[N, ...]` or `[N]`."""

    number: int
    signals: Tensor
    similarity: Tensor
    queries: Tensor
    active: int


@dataclass(frozen=True)
class SearchResult:
    """The best signal of each target, what it cost and why the search stopped there.

    `stopped` has one of "solved", "stalled", "budget" and "steps" a target; `steps` counts correction
    rounds, `queries` embedded signals, both int `[N]`.
    """

    signals: Tensor
    embeddings: Tensor
    similarity: Tensor
    steps: Tensor
    queries: Tensor
    stopped: tuple[str, ...]
    trace: tuple[Step, ...] | None


@dataclass
class _Rows:
    """Candidates: whose they are, what they are and how near they came."""

    owner: Tensor
    signals: Tensor
    embeddings: Tensor
    similarity: Tensor

    def __getitem__(self, index: Tensor) -> "_Rows":
        return _Rows(self.owner[index], self.signals[index], self.embeddings[index], self.similarity[index])

    def __add__(self, other: "_Rows") -> "_Rows":
        return _Rows(
            torch.cat([self.owner, other.owner]),
            torch.cat([self.signals, other.signals]),
            torch.cat([self.embeddings, other.embeddings]),
            torch.cat([self.similarity, other.similarity]),
        )


@torch.no_grad()
def search(
    target: Tensor,
    *,
    embed: Callable[[Tensor], Tensor],
    hypothesize: Callable[[Tensor, int, torch.Generator], Tensor],
    correct: Proposal,
    edit: Proposal | None = None,
    similarity: Similarity = cosine,
    steps: int = STEPS,
    beam: int = BEAM,
    branch: int | None = None,
    edits: int = 0,
    elite: int = 1,
    patience: int = PATIENCE,
    tolerance: float = 1e-5,
    max_queries: int | None = None,
    chunk_size: int = CHUNK_SIZE,
    seed: int = 0,
    on_step: Callable[[Step], None] | None = None,
    trace: bool = False,
) -> SearchResult:
    """Search for signals whose embeddings are the targets `[N, D]`.

    Round 0 embeds the `beam` guesses of each target. Every further round corrects the `beam` best
    candidates that have not been corrected yet, `branch` (unless given, `beam`) corrections each, and embeds
    those that the target has never met. With `edit`, small changes of the `elite` best signals ever seen join
    them, `edits` new ones each: `edit` lists more than are taken, the most promising first, so that a signal
    that stays the best is edited further down its list. A target leaves when its best similarity is within
    `tolerance` of 1, when `patience` rounds brought nothing, when nothing new comes, or when `max_queries` signals
    have been embedded for it; a signal that several targets meet in one round is embedded once and counts for each.
    `chunk_size` rows go through a function at once, halved when memory runs out.
    """
    if len(target) == 0 or (max_queries is not None and max_queries < 1):
        raise ValueError(f"a search needs a target and a query; got {len(target)} targets, max_queries={max_queries}")
    count, device = len(target), target.device
    generator = torch.Generator(device).manual_seed(seed)
    chunked = Chunked(chunk_size)
    used = torch.zeros(count, dtype=torch.long, device=device)
    spent = torch.zeros(count, dtype=torch.long, device=device)
    quiet = torch.zeros(count, dtype=torch.long, device=device)
    edits = 0 if edit is None else edits
    budget = torch.iinfo(torch.long).max if max_queries is None else max_queries
    reasons = ["steps"] * count
    history: list[Step] = []
    met_owner = met_hash = torch.zeros(0, dtype=torch.long, device=device)
    top: _Rows | None = None  # the best ever seen, a few a target, best first
    pool: _Rows | None = None  # not corrected yet; the frontier first, then as many in reserve
    frontier: _Rows | None = None
    active = torch.ones(count, dtype=torch.bool, device=device)

    for number in range(steps + 1):
        if frontier is None:
            made = chunked(lambda t: hypothesize(t, beam, generator), target)
            owner, signals = _by_rank(torch.arange(count, device=device), made)
        else:
            owner, signals = _propose(chunked, correct, target, frontier, branch or beam, generator)
        corrections = len(owner)
        if edit is not None and edits and top is not None:
            more = _propose(chunked, edit, target, top[active[top.owner]], REACH * edits, generator)
            owner, signals = torch.cat([owner, more[0]]), torch.cat([signals, more[1]])
        key = row_hash(signals)
        met = torch.cat([met_owner, owner]), torch.cat([met_hash, key])
        fresh = first_of_each(*met)[len(met_owner) :].nonzero().flatten()
        by_edit = fresh[fresh >= corrections]
        fresh = torch.cat([fresh[fresh < corrections], by_edit[rank_within(owner[by_edit]) < edits * elite]])
        edited = fresh >= corrections
        owner, signals, key = owner[fresh], signals[fresh], key[fresh]
        allowed = rank_within(owner) < (budget - used)[owner]
        owner, signals, key, edited = owner[allowed], signals[allowed], key[allowed], edited[allowed]
        met_owner, met_hash = torch.cat([met_owner, owner]), torch.cat([met_hash, key])
        used += torch.bincount(owner, minlength=count)
        spent += active & (number > 0)
        before = torch.full_like(target[:, 0], -torch.inf) if top is None else _best(top).similarity
        embeddings = target[owner]
        if len(owner):
            once, which = distinct(key)  # two targets may have met the same signal
            embeddings = chunked(embed, signals[once]).to(target.dtype)[which]
        new = _Rows(owner, signals, embeddings, similarity(target[owner], embeddings))
        # Edits of one signal are too alike to fill a beam: their best join it, corrections all do.
        small = new[edited]
        fruit = new[~edited] + small[best_of_each(small.owner, small.similarity, elite)]
        pool = fruit if pool is None else pool + fruit
        top = new if top is None else top + new
        top = top[best_of_each(top.owner, top.similarity, elite)]
        best = _best(top)
        gained = best.similarity - before > 1e-6
        quiet = torch.where(gained, 0, quiet + 1)
        kept = best_of_each(pool.owner, pool.similarity, 2 * beam)
        pool = pool[kept]
        waiting = (torch.bincount(pool.owner, minlength=count) > 0) | (edits > 0)
        stop = {
            "solved": best.similarity >= 1 - tolerance,
            "budget": used >= budget,
            "stalled": (quiet >= patience) | ~waiting,
        }
        for reason, mask in stop.items():
            for index in (mask & active).nonzero().flatten().tolist():
                reasons[index] = reason
            active = active & ~mask
        pool = pool[active[pool.owner]]
        step = Step(number, best.signals, best.similarity, used.clone(), int(active.sum()))
        if trace:
            history.append(step)
        if on_step is not None:
            on_step(step)
        if not active.any():
            break
        first = rank_within(pool.owner) < beam  # the pool is sorted, best first
        frontier, pool = pool[first], pool[~first]

    assert top is not None  # there is a first round
    best = _best(top)
    return SearchResult(
        best.signals,
        best.embeddings,
        best.similarity,
        spent,
        used,
        tuple(reasons),
        tuple(history) if trace else None,
    )


def _propose(
    chunked: Chunked, function: Proposal, target: Tensor, rows: _Rows, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    if len(rows.owner) == 0:
        return rows.owner, rows.signals
    made = chunked(
        lambda t, s, e: function(t, s, e, count, generator), target[rows.owner], rows.signals, rows.embeddings
    )
    return _by_rank(rows.owner, made)


def _by_rank(owner: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
    """Flat rows of candidates `[R, count, ...]`, first ranks first: a short budget is shared by all hypotheses."""
    return owner.repeat(made.shape[1]), made.transpose(0, 1).flatten(0, 1)


def _best(rows: _Rows) -> _Rows:
    """The first row of each target; every target has one, and rows are sorted by target."""
    return rows[rank_within(rows.owner) == 0]
