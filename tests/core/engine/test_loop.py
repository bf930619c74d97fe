"""The loop against a literal, slow one over Python lists."""

import inspect
import re
from dataclasses import replace

import pytest
import torch

from unembed.engine import loop
from unembed.engine.effort import Effort
from unembed.engine.limits import Limits
from unembed.engine.loop import search
from unembed.engine.moves import Combine, Correct, Edit, Guess, Move, Widen
from unembed.engine.state import Ask
from unembed.errors import InputError, PluginError
from unembed.testing.toy import OneLetter, ToyCodec, ToyEmbedder, words

CODEC = ToyCodec()
TABLE = ToyEmbedder().table.double()
CORRECTOR = OneLetter(TABLE)


def embed(signals):
    bent = torch.tanh(TABLE[torch.arange(8), signals].sum(1) / 4)
    return bent / bent.norm(dim=-1, keepdim=True)


def similarity(a, b):
    return (a * b).sum(-1)


KNOWN = CODEC.encode(sorted(set(words(40, seed=1))))
KNOWN_EMBEDDINGS = embed(KNOWN)


def guess(target, count, generator):
    return KNOWN[(target @ KNOWN_EMBEDDINGS.T).topk(count).indices]


def correct(target, hypothesis, embedding, count, generator):
    return CORRECTOR.correct(target, hypothesis, embedding, count)


def edit(target, hypothesis, embedding, count, generator):
    """All changes of one letter, the last one again and again where there are no more."""
    found = CORRECTOR.correct(target, hypothesis, embedding, min(count, 72))
    return torch.cat([found, found[:, -1:].expand(-1, count - found.shape[1], -1)], 1)


def combine(target, hypothesis, embedding, edits, answers, count):
    """The changes of the best two edits together, of the best three, …"""
    near = (answers @ target[..., None])[..., 0].masked_fill((edits == hypothesis[:, None]).all(-1), -torch.inf)
    order = near.argsort(dim=1, descending=True, stable=True)
    rows, found = torch.arange(len(target))[:, None], []
    edits = edits[rows, order]
    now = hypothesis
    for rank in range(count + 1):
        rank = min(rank, edits.shape[1] - 1)
        now = torch.where(edits[:, rank] != hypothesis, edits[:, rank], now)
        found.append(now)
    return torch.stack(found[1:], 1)


PARTS = {"guess": guess, "correct": correct, "edit": edit, "combine": combine}
BOX = {"embed": embed, "similarity": similarity}
# A literal candidate: similarity, signal, embedding, parent.


def one_by_one(part, target, entry, count):
    """What a part makes of one candidate."""
    return list(part(target[None], entry[1][None], entry[2][None], count, None)[0])


def by_rank(lists):
    """Signals of several parents with the parent's number, first ranks first."""
    return [(signal, parent) for signals in zip(*lists, strict=True) for parent, signal in enumerate(signals)]


# Each move, literally: yields signals with their parents, and the most to embed; is sent candidates.
def guessing(move, target, state):
    yield [(signal, -1) for signal in guess(target[None], move.count or state["beam"], None)[0]], None


def correcting(move, target, state, parents=None):
    parents = state["frontier"] if parents is None else parents
    if parents:
        count = move.count or state["beam"]
        yield by_rank([one_by_one(correct, target, entry, count) for entry in parents]), None


def editing(move, target, state):
    asked = move.oversample * move.count
    lists = [one_by_one(edit, target, entry, asked) for entry in state["best"][: move.elite]]
    yield by_rank(lists), move.count * move.elite


def combining(move, target, state):
    entry = state["best"][0]
    tried = new = yield by_rank([one_by_one(edit, target, entry, move.oversample * move.count)]), move.count
    for _ in range(move.rounds):
        if new:
            edits, answers = (torch.stack([row[i] for row in tried])[None] for i in (1, 2))
            made = combine(target[None], entry[1][None], entry[2][None], edits, answers, move.combinations)[0]
            new = yield [(signal, 0) for signal in made], None
            tried = tried + new


def widening(move, target, state):
    beam, rows = state["beam"], state["frontier"]
    for start in range(0, len(rows), beam):
        asking = LITERAL[type(move.inner)](move.inner, target, state, rows[start : start + beam])
        new, solved = None, False
        while True:
            try:
                signals, most = asking.send(new)
            except StopIteration:
                break
            new = yield [(signal, start + parent) for signal, parent in signals], most
            solved |= any(row[0] >= 1 - state["tolerance"] for row in new)
        if solved:
            break


LITERAL = {Guess: guessing, Correct: correcting, Edit: editing, Combine: combining, Widen: widening}


def nearest(rows, count):
    return sorted(rows, key=lambda row: -row[0])[:count]


def kept(move, rows):
    """Those of a move's candidates that may be worked on: the best of each parent's, or of all."""
    if move.keep is None:
        return rows
    if move.on == "best":
        return nearest(rows, move.keep)
    families = {}
    for row in rows:
        families.setdefault(row[3], []).append(row)
    return [row for parent in sorted(families) for row in nearest(families[parent], move.keep)]


def literal(target, effort):
    """One target, one candidate at a time."""
    limits, beam = effort.limits, effort.beam
    met, waiting, best, frontier, trace = set(), [], [], [], []
    spent, quiet, before = 0, 0, -float("inf")
    factors = [move.factors for move in effort.moves if isinstance(move, Widen)] or [(1,)]
    deepest = max(max(each) for each in factors)
    for step in range(limits.steps + 1):
        spent = step
        state = {"beam": beam, "frontier": frontier, "best": best, "tolerance": limits.tolerance}
        moves = effort.moves if step else (effort.start,)
        asking = [LITERAL[type(move)](move, target, state) for move in moves]
        brought = [[] for _ in moves]
        answers = [None for _ in moves]
        while any(each is not None for each in asking):
            for number, each in enumerate(asking):  # who asks first is served first
                if each is None:
                    continue
                try:
                    signals, most = each.send(answers[number])
                except StopIteration:
                    asking[number] = None
                    continue
                answers[number] = []
                for signal, parent in signals:
                    key = tuple(signal.tolist())
                    if key in met or len(met) == limits.max_queries or len(answers[number]) == most:
                        continue
                    met.add(key)
                    embedding = embed(signal[None])[0]
                    answers[number].append((similarity(target, embedding).item(), signal, embedding, parent))
                brought[number] += answers[number]
        for move, rows in zip(moves, brought, strict=True):
            waiting = waiting + kept(move, rows)
            best = best + rows
        waiting, best = nearest(waiting, 2 * beam * deepest), nearest(best, effort.elite)
        quiet = 0 if best[0][0] - before > 1e-6 else quiet + 1
        before = best[0][0]
        trace.append((best[0][1].tolist(), len(met)))
        if before >= 1 - limits.tolerance:
            return best[0], spent, len(met), "solved", trace
        if len(met) == limits.max_queries:
            return best[0], spent, len(met), "budget", trace
        if quiet >= limits.patience or not (waiting or any(move.on == "best" for move in effort.moves)):
            return best[0], spent, len(met), "stalled", trace
        width = beam * max(each[min(quiet, len(each) - 1)] for each in factors)
        frontier, waiting = waiting[:width], waiting[width:]
    return best[0], spent, len(met), "steps", trace


DRAW = torch.Generator().manual_seed(0)
NOBODY = torch.nn.functional.normalize(torch.randn(1, 24, dtype=torch.double, generator=DRAW), dim=1)
TARGETS = embed(CODEC.encode(words(25, seed=2)))


@pytest.mark.parametrize(
    ("steps", "beam", "patience", "budget"),
    [(0, 3, 3, None), (6, 1, 2, None), (5, 3, 1, None), (8, 4, 3, 30), (4, 2, 2, 3), (12, 2, 2, None)],
)
@pytest.mark.parametrize(
    ("start", "moves", "elite"),
    [
        (Guess(), (Correct(),), 1),
        (Guess(count=7), (Correct(count=2),), 1),
        (Guess(), (Correct(keep=1),), 1),
        (Guess(), (Correct(count=6, keep=2), Edit(count=5, elite=2, keep=2)), 2),
        (Guess(), (Correct(), Edit(count=5)), 1),
        (Guess(), (Correct(count=6), Edit(count=20, elite=3, keep=3)), 3),
        (Guess(), (Correct(), Combine(count=10, keep=2)), 2),
        (Guess(), (Correct(), Combine(count=10, keep=2, oversample=1)), 2),
        (Guess(), (Correct(count=2), Combine(count=12)), 1),
        (Guess(), (Combine(count=12), Edit(count=3, keep=0), Correct(count=2)), 2),
        (Guess(), (Widen(inner=Correct(count=4, keep=1), factors=(1, 2, 4)), Edit(count=5)), 1),
        (Guess(count=20), (Widen(inner=Correct(count=3), factors=(2, 1, 3)),), 1),
        (Guess(), (Widen(inner=Correct(count=6, keep=1), factors=(1, 2, 4, 8)), Edit(count=4, elite=2, keep=2)), 2),
    ],
)
def test_search_equals_the_literal_one(steps, beam, patience, budget, start, moves, elite) -> None:
    limits = Limits(steps=steps, patience=patience, max_queries=budget, tolerance=1e-9)
    effort = Effort(start=start, moves=moves, beam=beam, elite=elite, limits=limits)
    found = search(TARGETS, **BOX, parts=PARTS, effort=effort, trace=True)
    for row, target in enumerate(TARGETS):
        best, spent, used, reason, trace = literal(target, effort)
        assert found.signals[row].tolist() == best[1].tolist()
        assert found.similarity[row].item() == pytest.approx(best[0], abs=1e-12)
        assert torch.allclose(found.embeddings[row], best[2])
        assert (found.steps[row].item(), found.queries[row].item()) == (spent, used)
        assert found.stopped[row] == reason
        assert 0 < len(trace) <= len(found.trace)  # the batch goes on as long as its slowest target
        for step, (signal, queries) in zip(found.trace, trace, strict=False):
            assert step.signals[row].tolist() == signal
            assert step.queries[row].item() == queries


def few(steps: int, beam: int = 3, **limits) -> Effort:
    """Guesses and corrections."""
    return Effort(beam=beam, limits=Limits(steps=steps, **limits))


def test_search_stops_for_every_reason() -> None:
    stopped = set()
    for effort in (few(2), few(20, patience=1), few(20, max_queries=9)):
        stopped |= set(search(TARGETS, **BOX, parts=PARTS, effort=effort).stopped)
    assert stopped == {"solved", "stalled", "budget", "steps"}


def test_search_of_a_batch_equals_that_of_its_rows() -> None:
    together = search(TARGETS, **BOX, parts=PARTS, effort=few(4))
    for row in range(len(TARGETS)):
        alone = search(TARGETS[row : row + 1], **BOX, parts=PARTS, effort=few(4))
        assert torch.equal(alone.signals[0], together.signals[row])
        assert alone.queries[0] == together.queries[row]


@pytest.mark.parametrize("move", [Edit(count=5), Combine(count=5)])
def test_search_chunk_size_changes_nothing(move) -> None:
    effort = replace(few(4), moves=(Correct(), move))
    a, b = (search(TARGETS, **BOX, parts=PARTS, effort=effort, chunk_size=size) for size in (256, 7))
    assert torch.equal(a.signals, b.signals) and torch.equal(a.queries, b.queries)


def test_search_embeds_what_targets_share_once() -> None:
    counts = []

    def counted(signals):
        counts.append(len(signals))
        return embed(signals)

    twice = torch.cat([TARGETS[:1], TARGETS[:1]])
    found = search(twice, **{**BOX, "embed": counted}, parts=PARTS, effort=few(3))
    alone = search(TARGETS[:1], **BOX, parts=PARTS, effort=few(3))
    assert sum(counts) == alone.queries.sum()
    assert found.queries.tolist() == alone.queries.tolist() * 2


def test_search_works_only_on_what_is_unsolved() -> None:
    solved = embed(KNOWN[:3])  # the hypothesizer knows these
    rows = []

    def counted(target, *rest):
        rows.append(len(target))
        return correct(target, *rest)

    search(torch.cat([solved, NOBODY]), **BOX, parts={**PARTS, "correct": counted}, effort=few(2, beam=2))
    assert rows == [2, 2]


def test_search_reports_each_step_as_it_happens() -> None:
    seen = []
    found = search(TARGETS, **BOX, parts=PARTS, effort=few(3, beam=2), on_step=seen.append, trace=True)
    assert [step.number for step in seen] == [0, 1, 2, 3]
    assert all(a is b for a, b in zip(seen, found.trace, strict=True))
    active = [step.active for step in seen]
    assert active == sorted(active, reverse=True) and active[-1] < len(TARGETS)
    assert all(step.made is None for step in seen)


def test_steps_carry_their_candidates_where_asked_for() -> None:
    effort = Effort(moves=(Widen(inner=Correct(count=3)), Combine(count=4)), beam=2, limits=Limits(steps=4))
    found = search(TARGETS, **BOX, parts=PARTS, effort=effort, trace=True, candidates=True)
    assert {made.move for made in found.trace[0].made} == {"guess"}
    assert {made.move for step in found.trace[1:] for made in step.made} == {"correct", "combine"}
    rows = sum(len(made.candidates) for step in found.trace for made in step.made)
    assert rows == found.queries.sum()
    for made in found.trace[2].made:
        parents = made.parents[made.candidates.parent]
        assert torch.equal(parents.owner, made.candidates.owner)
        if made.move == "correct":  # one letter of the parent is another
            assert ((parents.signals != made.candidates.signals).sum(1) <= 1).all()


def test_proposals_are_the_candidates_of_one_target_with_their_parents() -> None:
    effort = Effort(moves=(Correct(count=3), Combine(count=4)), beam=2, limits=Limits(steps=3))
    found = search(TARGETS, **BOX, parts=PARTS, effort=effort, trace=True, candidates=True)
    met: set[tuple[int, ...]] = set()
    for step in found.trace:
        proposals = step.proposals(1)
        alike = [one.similarity for one in proposals]
        assert alike == sorted(alike, reverse=True)
        mine = [
            tuple(row) for made in step.made for row in made.candidates[made.candidates.owner == 1].signals.tolist()
        ]
        assert sorted(tuple(one.signal.tolist()) for one in proposals) == sorted(mine)
        assert [one.similarity for one in step.proposals(1, most=2)] == alike[:2]
        for one in proposals:
            assert float(similarity(embed(one.signal[None]), TARGETS[1])) == pytest.approx(one.similarity)
            if step.number == 0:
                assert one.move == "guess" and one.parent is None and one.parent_similarity is None
            else:  # what it was made from was met in an earlier round
                assert tuple(one.parent.tolist()) in met
                assert float(similarity(embed(one.parent[None]), TARGETS[1])) == pytest.approx(one.parent_similarity)
        met |= set(mine)


def test_nothing_is_kept_of_candidates_where_nobody_asks_for_them(monkeypatch) -> None:
    def never(*_):
        raise AssertionError("a search that nobody follows made a note of its candidates")

    monkeypatch.setattr(loop, "Made", never)
    with pytest.raises(AssertionError):
        search(TARGETS, **BOX, parts=PARTS, effort=few(2, beam=2), candidates=True)
    seen = []
    found = search(TARGETS, **BOX, parts=PARTS, effort=few(2, beam=2), trace=True, on_step=seen.append)
    assert all(step.made is None for step in (*seen, *found.trace))
    with pytest.raises(InputError, match="candidates=True"):
        found.trace[0].proposals()


def test_search_generator_is_seeded() -> None:
    def random_guess(target, count, generator):
        return torch.randint(1, 9, (len(target), count, 8), generator=generator)

    parts = {**PARTS, "guess": random_guess}
    runs = [search(TARGETS, **BOX, parts=parts, effort=few(1, beam=2), seed=s) for s in (1, 1, 2)]
    assert torch.equal(runs[0].signals, runs[1].signals)
    assert not torch.equal(runs[0].signals, runs[2].signals)


def test_search_takes_few_arguments_and_says_what_each_is() -> None:
    names = list(inspect.signature(search).parameters)
    assert len(names) <= 12
    listed = re.findall(r"^- `(\w+)`:", inspect.getdoc(search), flags=re.M)
    assert listed == names


def test_search_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a target"):
        search(TARGETS[:0], **BOX, parts=PARTS, effort=few(1))


def test_a_search_that_cannot_start_says_what_is_missing() -> None:
    with pytest.raises(PluginError, match="'guess' needs guess; the inverter has correct"):
        search(TARGETS, **BOX, parts={"correct": correct}, effort=few(1))


class Silent(Move):
    """Asks about the first target alone."""

    def ask(self, state, parts, generator):
        yield Ask(torch.zeros(1, dtype=torch.long), KNOWN[:1])

    def most(self, beam):
        return 1


def test_a_start_owes_every_target_a_candidate() -> None:
    with pytest.raises(PluginError, match=f"no candidate for {len(TARGETS) - 1} of {len(TARGETS)} targets"):
        search(TARGETS, **BOX, parts=PARTS, effort=replace(few(1), start=Silent()))


def test_a_widening_search_finds_more_than_a_narrow_one_and_never_repeats_a_query() -> None:
    rows = []

    def watched(signals):
        rows.append(signals)
        return embed(signals)

    limits = Limits(steps=20, patience=6, tolerance=1e-9)
    narrow = Effort(start=Guess(count=6), moves=(Correct(count=6, keep=1),), beam=1, limits=limits)
    wide = replace(narrow, moves=(Widen(inner=narrow.moves[0], factors=(1, 2, 4, 8)),))
    solved = {}
    for name, effort in (("narrow", narrow), ("wide", wide)):
        found = [search(target[None], **{**BOX, "embed": watched}, parts=PARTS, effort=effort) for target in TARGETS]
        solved[name] = sum(one.stopped == ("solved",) for one in found)
        if name == "wide":
            assert all(int(one.queries) <= effort.most() for one in found)
    assert solved["wide"] > solved["narrow"]
    rows.clear()
    search(TARGETS[:1], **{**BOX, "embed": watched}, parts=PARTS, effort=wide)
    asked = torch.cat(rows)
    assert len(torch.unique(asked, dim=0)) == len(asked)


@pytest.mark.parametrize("count", [1, 5, 40])
def test_the_nearest_candidates_are_the_best_of_all_and_change_nothing(count) -> None:
    effort = Effort(moves=(Correct(count=4, keep=1), Edit(count=5, elite=2, keep=2)), beam=2, elite=2)
    plain = search(TARGETS, **BOX, parts=PARTS, effort=effort, trace=True, candidates=True)
    found = search(TARGETS, **BOX, parts=PARTS, effort=effort, nearest=count)
    assert torch.equal(plain.signals, found.signals) and torch.equal(plain.queries, found.queries)
    assert plain.nearest is None
    met = [row for step in plain.trace for made in step.made for row in rows_of(made.candidates)]
    for target in range(len(TARGETS)):
        mine = sorted((similarity for owner, _, similarity in met if owner == target), reverse=True)
        held = [(signal, similarity) for owner, signal, similarity in rows_of(found.nearest) if owner == target]
        assert [similarity for _, similarity in held] == mine[:count]
        assert held[0][0] == found.signals[target].tolist()


def rows_of(candidates):
    return list(
        zip(candidates.owner.tolist(), candidates.signals.tolist(), candidates.similarity.tolist(), strict=True)
    )


def test_a_wide_round_asks_a_beam_at_a_time() -> None:
    """No function sees more parents at once than the beam has, and a target that a beam solves isn't asked further."""
    calls = []

    def counted(target, *rest):
        calls.append(len(target))
        return correct(target, *rest)

    effort = Effort(
        start=Guess(count=20),
        moves=(Widen(inner=Correct(count=2), factors=(4,)),),
        beam=3,
        limits=Limits(steps=1, tolerance=1e-9),
    )
    found = search(NOBODY, **BOX, parts={**PARTS, "correct": counted}, effort=effort)
    assert calls == [3, 3, 3, 3] and found.queries <= effort.most() == 20 + 4 * 3 * 2
    calls.clear()
    near = KNOWN[(KNOWN > 0).all(1)][:1].clone()
    near[0, 0] = near[0, 0] % 8 + 1  # a letter from what is known: the first beam finds it
    search(
        embed(near),
        **BOX,
        parts={**PARTS, "correct": counted},
        effort=replace(effort, moves=(Widen(inner=Correct(count=72), factors=(4,)),)),
    )
    assert calls == [3]
