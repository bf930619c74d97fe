"""The one loop: propose, embed, keep the best, repeat, over opaque signal batches.

A generalisation of the sequence-level beam of vec2text (Morris et al. 2023, section 4) to any signal and any way to
propose. Rows are flat, each with the index of the target that it belongs to, so no target is padded to another's beam.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unembed.contract.proposers import Part
from unembed.contract.similarity import Similarity, cosine
from unembed.defaults import CHUNK_SIZE
from unembed.engine.black_box import BlackBox
from unembed.engine.effort import Effort
from unembed.engine.moves import Asking, Move
from unembed.engine.rows import Chunked, best_of_each, counts, rank_ordered
from unembed.engine.state import Ask, Candidates, Parts, State
from unembed.errors import InputError, PluginError

__all__ = ["Made", "Proposal", "SearchResult", "Step", "search"]

REASONS = ("steps", "solved", "budget", "stalled")  # why a target left, the first that holds but for "steps"


@dataclass(frozen=True)
class Made:
    """The candidates that one move brought in a round, and the rows that their `parent` counts in."""

    move: str
    candidates: Candidates
    parents: Candidates


@dataclass(frozen=True)
class Proposal:
    """One new candidate of a target, and where it comes from.

    `move` is the name of the move that proposed `signal` `[...]`, whose embedding has `similarity` to the target.
    `parent` is the signal that it was made from, with its own similarity; both are None for a first guess.
    """

    move: str
    signal: Tensor
    similarity: float
    parent: Tensor | None = None
    parent_similarity: float | None = None


@dataclass(frozen=True)
class Step:
    """The state after one round; round 0 is the start's. Tensors are `[N, ...]` or `[N]`.

    `made` is what each move brought, where a search was asked for candidates; `proposals` reads it.
    """

    number: int
    signals: Tensor
    similarity: Tensor
    queries: Tensor
    active: int
    made: tuple[Made, ...] | None = None

    def proposals(self, target: int = 0, *, most: int | None = None) -> list[Proposal]:
        """The new candidates of one target in this round, the nearest first, `most` of them at most.

        Nothing is computed before this is called. Raises InputError where the search wasn't asked for `candidates`.

        Examples:
            >>> from unembed.testing.toy import toy_inverter
            >>> inverter = toy_inverter()
            >>> result = inverter.invert(inverter.embed(["bccb"]), effort="low", trace=True, candidates=True)
            >>> for step in result.trace:
            ...     first = step.proposals(most=1)[0]
            ...     print(step.number, first.move, inverter.codec.decode(first.signal[None]))
            0 guess ['bdd']
            1 correct ['gccb']
            2 correct ['bccb']
        """
        if self.made is None:
            raise InputError("this step carries no candidates: search or invert with candidates=True")
        found: list[Proposal] = []
        for made in self.made:
            rows = made.candidates
            own = (rows.owner == target).nonzero().flatten()
            best = own[rows.similarity[own].argsort(descending=True, stable=True)[:most]]
            for place, parent in zip(best.tolist(), rows.parent[best].tolist(), strict=True):
                proposal = Proposal(made.move, rows.signals[place], float(rows.similarity[place]))
                if parent >= 0:
                    source, alike = made.parents.signals[parent], float(made.parents.similarity[parent])
                    proposal = replace(proposal, parent=source, parent_similarity=alike)
                found.append(proposal)
        return sorted(found, key=lambda one: -one.similarity)[:most]


@dataclass(frozen=True)
class SearchResult:
    """The best signal of each target, what it cost and why the search stopped there.

    `stopped` has one of "solved", "stalled", "budget" and "steps" per target; `steps` counts rounds after the first
    guesses, `queries` embedded signals, both int `[N]`. `nearest` holds the best candidates of each target, best first,
    as many as were asked for.
    """

    signals: Tensor
    embeddings: Tensor
    similarity: Tensor
    steps: Tensor
    queries: Tensor
    stopped: tuple[str, ...]
    trace: tuple[Step, ...] | None
    nearest: Candidates | None = None


@torch.no_grad()
def search(
    target: Tensor,
    *,
    embed: Callable[[Tensor], Tensor],
    parts: Mapping[str, Part],
    effort: Effort,
    similarity: Similarity = cosine,
    chunk_size: int = CHUNK_SIZE,
    seed: int = 0,
    on_step: Callable[[Step], None] | None = None,
    trace: bool = False,
    candidates: bool = False,
    slack: Tensor | None = None,
    nearest: int = 0,
) -> SearchResult:
    """Search for signals whose embeddings are the targets.

    In each round every move of the effort says which signals it wants embedded. Those that their target has met are
    passed over, the rest are embedded at once (a signal that several targets ask for once for all of them), and each
    move is sent its own, whereupon it may ask again. The best `beam` candidates that haven't been worked on are the
    next round's frontier. A target leaves when it is solved, stalled, or out of queries.

    - `target`: the embeddings to invert, `[N, D]`.
    - `embed`: the black box, signals `[R, ...]` to embeddings `[R, D]`.
    - `parts`: what moves call, by name: `guess`, `correct`, `edit`, `combine` and others.
    - `effort`: moves, breadth and limits; moves whose parts are missing are left out.
    - `similarity`: how embeddings compare, row by row; 1 is equality.
    - `chunk_size`: rows that go through a function at once, halved when memory runs out.
    - `seed`: of all randomness.
    - `on_step`: called with each `Step` as it ends.
    - `trace`: return all steps.
    - `candidates`: steps carry the candidates of their round; they take memory as long as a step is held.
    - `slack`: what rounding of the targets may take from a similarity, `[N]`: a target is solved so much earlier.
    - `nearest`: return so many of each target's best candidates; the search holds them meanwhile.

    Raises ValueError without targets, and PluginError for an effort that can't start.

    Examples:
        >>> import unembed
        >>> from unembed.testing.toy import toy_inverter
        >>> inverter = toy_inverter()
        >>> target = inverter.embed(["cafe", "headache"])
        >>> found = unembed.search(
        ...     target, embed=inverter.embedder.embed, parts=inverter.parts, effort=unembed.Effort(beam=4)
        ... )
        >>> inverter.codec.decode(found.signals), found.stopped
        (['cafe', 'headache'], ('solved', 'solved'))
    """
    if len(target) == 0:
        raise ValueError("a search needs a target; got none")
    effort, chunked = effort.fitted(parts), Chunked(chunk_size)
    moves, limits, beam, count = effort.moves, effort.limits, effort.beam, len(target)
    box = BlackBox(target, embed, similarity, limits.max_queries, chunked)
    calls, generator = Parts(parts, chunked), torch.Generator(target.device).manual_seed(seed)
    depth, elite, hold = effort.depth, effort.elite, max(effort.elite, nearest)
    widths = [beam * width for width in effort.widths]
    breadth = torch.tensor(widths, device=target.device)
    endless = any(move.on == "best" for move in moves)
    spent = torch.zeros_like(box.used)
    quiet = torch.zeros_like(box.used)
    reason = torch.zeros_like(box.used)
    best_before = torch.full_like(target[:, 0], -torch.inf)
    active = torch.ones_like(quiet, dtype=torch.bool)
    # The best ever seen; those not worked on yet; those being worked on.
    top = pool = frontier = box.none(target)
    solved = 1 - limits.tolerance - (0.0 if slack is None else slack)
    history: list[Step] = []

    for number in range(limits.steps + 1):
        few = top if hold == elite else top.best(elite)
        state = State(number, beam, limits, target, active, few, frontier, quiet, box.budget - box.used)
        brought = _round(
            moves if number else (effort.start,), state, calls, generator, box, max(depth, hold), candidates
        )
        spent += active & (number > 0)
        if brought.every:
            pool = Candidates.cat([pool, *brought.kept] if number else brought.kept).best(depth)
            top = Candidates.cat([top, *brought.every] if number else brought.every).best(hold)
        best = top if hold == 1 else top.best(1)
        if len(best) < count:
            raise PluginError(f"{effort.start.name!r} made no candidate for {count - len(best)} of {count} targets")
        quiet = torch.where(best.similarity - best_before > 1e-6, 0, quiet + 1)
        best_before = best.similarity
        waiting = (counts(pool.owner, count) > 0) | endless
        stop = (best.similarity >= solved, box.used >= box.budget, (quiet >= limits.patience) | ~waiting)
        for index, mask in enumerate(stop, 1):
            reason = torch.where(mask & active, index, reason)
            active = active & ~mask
        pool = pool[active[pool.owner]]
        made = tuple(brought.made) if candidates else None
        step = Step(number, best.signals, best.similarity, box.used.clone(), int(active.sum()), made)
        if trace:
            history.append(step)
        if on_step is not None:
            on_step(step)
        if step.active == 0 or number == limits.steps:
            break
        wide = widths[0] if len(widths) == 1 else breadth[quiet.clamp_max(len(widths) - 1)][pool.owner]
        first = rank_ordered(pool.owner) < wide  # the pool is sorted, best first
        frontier, pool = pool[first], pool[~first]

    return SearchResult(
        best.signals,
        best.embeddings,
        best.similarity,
        spent,
        box.used,
        tuple(REASONS[index] for index in reason.tolist()),
        tuple(history) if trace else None,
        top.best(nearest) if nearest else None,
    )


@dataclass(frozen=True)
class _Brought:
    """What a round brought: candidates to work on, all that are new, and (where asked for) by which move."""

    kept: list[Candidates]
    every: list[Candidates]
    made: list[Made]


def _round(
    moves: Sequence[Move], state: State, parts: Parts, generator: torch.Generator, box: BlackBox, hold: int, tell: bool
) -> _Brought:
    """Let all moves ask, answer them together, and again while any goes on asking."""
    asking = [move.ask(state, parts, generator) for move in moves]
    asks = [next(each, None) for each in asking]
    kept: list[list[Candidates]] = [[] for _ in moves]
    brought = _Brought([], [], [])
    while live := [(index, ask) for index, ask in enumerate(asks) if ask is not None]:
        later = bool(brought.every)
        for (index, _), rows in zip(live, box.answer([ask for _, ask in live]), strict=True):
            move = moves[index]
            if len(rows):
                # Of later answers no more is held than can count, however often a move asks.
                few = rows.best(hold) if later else rows
                kept[index].append(few if move.keep is None else _kept(move, state, rows))
                brought.every.append(few)
                if tell:
                    brought.made.append(Made(move.name, rows, state.best if move.on == "best" else state.frontier))
            asks[index] = _sent(asking[index], rows)
    for move, parts_kept in zip(moves, kept, strict=True):
        if parts_kept:
            rows = Candidates.cat(parts_kept)
            brought.kept.append(rows if move.keep is None or len(parts_kept) == 1 else _kept(move, state, rows))
    return brought


def _sent(asking: Asking, rows: Candidates) -> Ask | None:
    """What a move asks next, given the answers to what it asked before."""
    try:
        return asking.send(rows)
    except StopIteration:
        return None


def _kept(move: Move, state: State, rows: Candidates) -> Candidates:
    """Those of a move's new candidates that may be worked on themselves."""
    if move.keep is None:
        return rows
    group = rows.owner
    if move.on == "frontier":
        group = torch.where(rows.parent < 0, len(state.frontier) + group, rows.parent)
    return rows[best_of_each(group, rows.similarity, move.keep)]
