"""The one loop: guess, re-embed, correct, repeat, over opaque signal batches.

A generalisation of the sequence-level beam of vec2text (Morris et al. 2023, section 4) to any signal. Rows
are flat, each with the index of the target that it belongs to, so no target is padded to another's beam.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unembed.contract.similarity import Similarity, cosine
from unembed.defaults import BEAM, CHUNK_SIZE, COMBINATIONS, COMBINED, PATIENCE, REACH, STEPS
from unembed.engine.rows import (
    Chunked,
    best_of_each,
    counts,
    distinct,
    first_of_each,
    rank_ordered,
    rank_within,
    row_hash,
)

__all__ = ["SearchResult", "Step", "search"]

REASONS = ("steps", "solved", "budget", "stalled")  # why a target left, the first that holds but for "steps"
Proposal = Callable[[Tensor, Tensor, Tensor, int, torch.Generator], Tensor]
Combination = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, int], Tensor]


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

    def __getitem__(self, index: Tensor | slice) -> "_Rows":
        if isinstance(index, Tensor) and index.dtype == torch.bool:
            index = index.nonzero().flatten()  # once, for a device has to be waited for
        return _Rows(self.owner[index], self.signals[index], self.embeddings[index], self.similarity[index])

    def __add__(self, other: "_Rows") -> "_Rows":
        return _Rows(
            torch.cat([self.owner, other.owner]),
            torch.cat([self.signals, other.signals]),
            torch.cat([self.embeddings, other.embeddings]),
            torch.cat([self.similarity, other.similarity]),
        )


class _Met:
    """What each target has met, so that nothing is embedded for it twice."""

    def __init__(self, device: torch.device) -> None:
        self.owner = self.key = torch.zeros(0, dtype=torch.long, device=device)

    def fresh(self, owner: Tensor, signals: Tensor, most: Tensor) -> Tensor:
        """Indices of the rows new to their target, at most `most` `[N]` a target; from now on these are met."""
        key = row_hash(signals)
        first = first_of_each(torch.cat([self.owner, owner]), torch.cat([self.key, key]))
        new = first[len(self.owner) :].nonzero().flatten()
        new = new[rank_within(owner[new]) < most[owner[new]]]
        self.owner, self.key = torch.cat([self.owner, owner[new]]), torch.cat([self.key, key[new]])
        return new


@torch.no_grad()
def search(
    target: Tensor,
    *,
    embed: Callable[[Tensor], Tensor],
    hypothesize: Callable[[Tensor, int, torch.Generator], Tensor],
    correct: Proposal,
    edit: Proposal | None = None,
    combine: Combination | None = None,
    similarity: Similarity = cosine,
    steps: int = STEPS,
    beam: int = BEAM,
    branch: int | None = None,
    guesses: int | None = None,
    siblings: int | None = None,
    edits: int = 0,
    elite: int = 1,
    reach: int = REACH,
    patience: int = PATIENCE,
    tolerance: float = 1e-5,
    max_queries: int | None = None,
    chunk_size: int = CHUNK_SIZE,
    seed: int = 0,
    on_step: Callable[[Step], None] | None = None,
    trace: bool = False,
) -> SearchResult:
    """Search for signals whose embeddings are the targets `[N, D]`.

    Round 0 embeds so many `guesses` of each target, unless given `beam`. Every further round corrects the `beam` best
    candidates that have not been corrected yet, `branch` (unless given, `beam`) corrections each, and embeds
    those that the target has never met; with `siblings` only so many of one candidate's corrections, the best, may be
    corrected themselves. With `edit`, small changes of the `elite` best signals ever seen join
    them, `edits` a signal: `edit` is asked for `reach` times as many as are taken, so that a signal which stays the
    best is edited further down its list. With `combine` they are all edits of the best one, as many, and what the
    black box said of them is put together to a few more signals, which are embedded in the same round, and once more
    with what it said of those. A target leaves when its best similarity is within `tolerance` of 1, when `patience`
    rounds brought nothing, when nothing new comes, or when `max_queries` signals have been embedded for it; a signal
    that several targets meet at once is embedded once and counts for each. `chunk_size` rows go through a function at
    once, halved when memory runs out.
    """
    if len(target) == 0 or (max_queries is not None and max_queries < 1):
        raise ValueError(f"a search needs a target and a query; got {len(target)} targets, max_queries={max_queries}")
    count, device = len(target), target.device
    generator = torch.Generator(device).manual_seed(seed)
    chunked = Chunked(chunk_size)
    edits = 0 if edit is None else edits
    used = torch.zeros(count, dtype=torch.long, device=device)
    spent = torch.zeros_like(used)
    quiet = torch.zeros_like(used)
    budget = torch.full_like(used, torch.iinfo(torch.long).max if max_queries is None else max_queries)
    best_before = torch.full_like(target[:, 0], -torch.inf)
    reason = torch.zeros_like(used)
    history: list[Step] = []
    met = _Met(device)
    # The best ever seen; those not corrected yet; those being corrected.
    top = pool = frontier = _Rows(used[:0], target[:0], target[:0], target[:0, 0])
    active = torch.ones(count, dtype=torch.bool, device=device)

    for number in range(steps + 1):
        if number == 0:
            made = chunked(lambda t: hypothesize(t, guesses or beam, generator), target)
            owner, signals = _by_rank(torch.arange(count, device=device), made)
        else:
            owner, signals = _propose(chunked, correct, target, frontier, branch or beam, generator)
        new = met.fresh(owner, signals, budget - used)
        parent = new % max(1, len(frontier.owner))  # first ranks come first
        owner, signals = owner[new], signals[new]
        used += counts(owner, count)
        whole = len(owner)
        if edit is not None and edits and number:
            edited = _best(top[active[top.owner]], elite if combine is None else 1)
            asked = reach * edits * (1 if combine is None else elite)
            more, small = _propose(chunked, edit, target, edited, asked, generator)
            new = met.fresh(more, small, (budget - used).clamp_max(edits * elite))
            owner, signals = torch.cat([owner, more[new]]), torch.cat([signals, small[new]])
            used += counts(more[new], count)
        spent += active & (number > 0)
        if len(owner):
            rows = _embedded(chunked, embed, similarity, target, owner, signals)
            rows, small_rows = rows[:whole], rows[whole:]
            if combine is not None and len(small_rows.owner):
                for _ in range(COMBINATIONS):
                    more, small = _combined(chunked, combine, target, edited, small_rows)
                    new = met.fresh(more, small, budget - used)
                    used += counts(more[new], count)
                    if not len(new):
                        break
                    small_rows += _embedded(chunked, embed, similarity, target, more[new], small[new])
            if number == 0:
                top = pool = rows[used[:0]]
            # What is alike would fill a beam: of edits the best few join it, of one candidate's corrections `siblings`.
            kept = rows if siblings is None or number == 0 else rows[best_of_each(parent, rows.similarity, siblings)]
            if len(small_rows.owner):
                small_rows = _best(small_rows, elite)
                kept, rows = kept + small_rows, rows + small_rows
            pool, top = _best(pool + kept, 2 * beam), _best(top + rows, elite)
        best = top if elite == 1 else _best(top, 1)
        quiet = torch.where(best.similarity - best_before > 1e-6, 0, quiet + 1)
        best_before = best.similarity
        waiting = (counts(pool.owner, count) > 0) | (edits > 0)
        stop = (best.similarity >= 1 - tolerance, used >= budget, (quiet >= patience) | ~waiting)
        for index, mask in enumerate(stop, 1):
            reason = torch.where(mask & active, index, reason)
            active = active & ~mask
        pool = pool[active[pool.owner]]
        step = Step(number, best.signals, best.similarity, used.clone(), int(active.sum()))
        if trace:
            history.append(step)
        if on_step is not None:
            on_step(step)
        if step.active == 0 or number == steps:
            break
        first = rank_ordered(pool.owner) < beam  # the pool is sorted, best first
        frontier, pool = pool[first], pool[~first]

    return SearchResult(
        best.signals,
        best.embeddings,
        best.similarity,
        spent,
        used,
        tuple(REASONS[index] for index in reason.tolist()),
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


def _combined(
    chunked: Chunked, combine: Combination, target: Tensor, edited: _Rows, edits: _Rows
) -> tuple[Tensor, Tensor]:
    """Combinations of the edits of each target's `edited` signal, which stands in for edits that a target lacks."""
    edited = edited[torch.isin(edited.owner, edits.owner)]
    which, rank = torch.searchsorted(edited.owner, edits.owner), rank_within(edits.owner)
    place = torch.full((len(edited.owner), int(rank.max()) + 1), -1, device=rank.device)
    place[which, rank] = torch.arange(len(rank), device=rank.device)

    def made(t: Tensor, signal: Tensor, embedding: Tensor, place: Tensor) -> Tensor:
        signals, embeddings = edits.signals[place], edits.embeddings[place]
        signals[place < 0] = signal[:, None].expand_as(signals)[place < 0]
        embeddings[place < 0] = embedding[:, None].expand_as(embeddings)[place < 0]
        return combine(t, signal, embedding, signals, embeddings, COMBINED)

    return _by_rank(edited.owner, chunked(made, target[edited.owner], edited.signals, edited.embeddings, place))


def _by_rank(owner: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
    """Flat rows of candidates `[R, count, ...]`, first ranks first: a short budget is shared by all hypotheses."""
    return owner.repeat(made.shape[1]), made.transpose(0, 1).flatten(0, 1)


def _embedded(
    chunked: Chunked,
    embed: Callable[[Tensor], Tensor],
    similarity: Similarity,
    target: Tensor,
    owner: Tensor,
    signals: Tensor,
) -> _Rows:
    """Candidates with their embeddings; two targets may have met the same signal, which is embedded once."""
    once, which = distinct(row_hash(signals))
    embeddings = chunked(embed, signals[once]).to(target.dtype)[which]
    return _Rows(owner, signals, embeddings, similarity(target[owner], embeddings))


def _best(rows: _Rows, count: int) -> _Rows:
    """The `count` best of each target, targets in order, best first."""
    return rows[best_of_each(rows.owner, rows.similarity, count)]
