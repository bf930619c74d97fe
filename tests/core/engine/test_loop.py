"""The loop against a literal, slow one over Python lists."""

import pytest
import torch

from unembed.defaults import COMBINATIONS, COMBINED
from unembed.engine.loop import search
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


def hypothesize(target, count, generator):
    return KNOWN[(target @ KNOWN_EMBEDDINGS.T).topk(count).indices]


def correct(target, hypothesis, embedding, count, generator):
    return CORRECTOR.correct(target, hypothesis, embedding, count)


PARTS = {"embed": embed, "hypothesize": hypothesize, "correct": correct, "similarity": similarity}


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


def literal(
    target,
    *,
    steps,
    beam,
    patience,
    tolerance,
    budget,
    branch=None,
    guesses=None,
    siblings=None,
    edits=0,
    elite=1,
    reach=4,
    combine=None,
):
    """One target, one candidate at a time."""
    met, waiting, top, frontier = set(), [], [], None
    best, used, spent, quiet = None, 0, 0, 0
    trace = []
    for _ in range(steps + 1):
        if frontier is None:
            lists = [hypothesize(target[None], guesses or beam, None)[0]]
        else:
            lists = [correct(target[None], s[None], e[None], branch or beam, None)[0] for _, s, e, _ in frontier]
            spent += 1
        small = []
        if frontier is not None and edits:
            asked = reach * edits * (1 if combine is None else elite)
            parents = top if combine is None else top[:1]
            small = [edit(target[None], s[None], e[None], asked, None)[0] for _, s, e, _ in parents]
        before = -float("inf") if best is None else best[0]
        edited, corrected = [], []
        rounds = [
            (lists, corrected, budget),
            (small, edited, edits * elite),
            *[(combine, edited, budget)] * COMBINATIONS,
        ]
        for made, kind, most in rounds:
            taken = 0
            if made is combine:
                if combine is None or not edited:
                    continue
                _, signal, embedding, _ = parents[0]
                tried, answers = (torch.stack([entry[i] for entry in edited])[None] for i in (1, 2))
                made = [combine(target[None], signal[None], embedding[None], tried, answers, COMBINED)[0]]
            for rank in range(len(made[0]) if made else 0):
                for parent, candidates in enumerate(made):
                    signal = candidates[rank]
                    if tuple(signal.tolist()) in met or used == budget or taken == most:
                        continue
                    met.add(tuple(signal.tolist()))
                    used, taken = used + 1, taken + 1
                    embedding = embed(signal[None])[0]
                    new = (similarity(target, embedding).item(), signal, embedding, parent)
                    kind.append(new)
                    top.append(new)
        if siblings is not None and frontier is not None:
            families = [[entry for entry in corrected if entry[3] == parent] for parent in range(len(frontier))]
            families = [sorted(family, key=lambda entry: -entry[0])[:siblings] for family in families]
            corrected = [entry for family in families for entry in family]
        waiting += corrected
        top = sorted(top, key=lambda entry: -entry[0])[:elite]
        best = top[0]
        waiting += sorted(edited, key=lambda entry: -entry[0])[:elite]
        quiet = 0 if best[0] - before > 1e-6 else quiet + 1
        waiting = sorted(waiting, key=lambda entry: -entry[0])[: 2 * beam]
        trace.append((best[1].tolist(), used))
        if best[0] >= 1 - tolerance:
            return best, spent, used, "solved", trace
        if used == budget:
            return best, spent, used, "budget", trace
        if quiet >= patience or not (waiting or edits):
            return best, spent, used, "stalled", trace
        frontier, waiting = waiting[:beam], waiting[beam:]
    return best, spent, used, "steps", trace


DRAW = torch.Generator().manual_seed(0)
TARGETS = embed(CODEC.encode(words(25, seed=2)))


@pytest.mark.parametrize(
    ("steps", "beam", "patience", "budget"),
    [(0, 3, 3, None), (6, 1, 2, None), (5, 3, 1, None), (8, 4, 3, 30), (4, 2, 2, 3), (12, 2, 2, None)],
)
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"branch": 2, "guesses": 7},
        {"siblings": 1},
        {"branch": 6, "siblings": 2, "edits": 5, "elite": 2},
        {"edits": 5},
        {"branch": 6, "edits": 20, "elite": 3},
        {"edits": 5, "elite": 2, "combine": combine},
        {"edits": 5, "elite": 2, "reach": 1, "combine": combine},
        {"branch": 2, "edits": 12, "combine": combine},
    ],
)
def test_search_equals_the_literal_one(steps, beam, patience, budget, more) -> None:
    found = search(
        TARGETS,
        **PARTS,
        edit=edit,
        steps=steps,
        beam=beam,
        patience=patience,
        tolerance=1e-9,
        max_queries=budget,
        trace=True,
        **more,
    )
    for row, target in enumerate(TARGETS):
        best, spent, used, reason, trace = literal(
            target, steps=steps, beam=beam, patience=patience, tolerance=1e-9, budget=budget, **more
        )
        assert found.signals[row].tolist() == best[1].tolist()
        assert found.similarity[row].item() == pytest.approx(best[0], abs=1e-12)
        assert torch.allclose(found.embeddings[row], best[2])
        assert (found.steps[row].item(), found.queries[row].item()) == (spent, used)
        assert found.stopped[row] == reason
        for step, (signal, queries) in zip(found.trace, trace, strict=False):
            assert step.signals[row].tolist() == signal
            assert step.queries[row].item() == queries


def test_search_stops_for_every_reason() -> None:
    stopped = set()
    for options in ({"steps": 2}, {"steps": 20, "patience": 1}, {"steps": 20, "max_queries": 9}):
        stopped |= set(search(TARGETS, **PARTS, beam=3, **options).stopped)
    assert stopped == {"solved", "stalled", "budget", "steps"}


def test_search_of_a_batch_equals_that_of_its_rows() -> None:
    together = search(TARGETS, **PARTS, steps=4, beam=3)
    for row in range(len(TARGETS)):
        alone = search(TARGETS[row : row + 1], **PARTS, steps=4, beam=3)
        assert torch.equal(alone.signals[0], together.signals[row])
        assert alone.queries[0] == together.queries[row]


def test_search_chunk_size_changes_nothing() -> None:
    a, b = (search(TARGETS, **PARTS, steps=4, beam=3, chunk_size=size) for size in (256, 7))
    assert torch.equal(a.signals, b.signals)


def test_search_embeds_what_targets_share_once() -> None:
    counts = []

    def counted(signals):
        counts.append(len(signals))
        return embed(signals)

    twice = torch.cat([TARGETS[:1], TARGETS[:1]])
    found = search(twice, **{**PARTS, "embed": counted}, steps=3, beam=3)
    alone = search(TARGETS[:1], **PARTS, steps=3, beam=3)
    assert sum(counts) == alone.queries.sum()
    assert found.queries.tolist() == alone.queries.tolist() * 2


def test_search_works_only_on_what_is_unsolved() -> None:
    solved = embed(KNOWN[:3])  # the hypothesizer knows these
    rows = []

    def counted(target, *rest):
        rows.append(len(target))
        return correct(target, *rest)

    nobody = torch.nn.functional.normalize(torch.randn(1, 24, dtype=torch.double, generator=DRAW), dim=1)
    search(torch.cat([solved, nobody]), **{**PARTS, "correct": counted}, steps=2, beam=2)
    assert rows == [2, 2]


def test_search_reports_each_step_as_it_happens() -> None:
    seen = []
    found = search(TARGETS, **PARTS, steps=3, beam=2, on_step=seen.append, trace=True)
    assert [step.number for step in seen] == [0, 1, 2, 3]
    assert all(a is b for a, b in zip(seen, found.trace, strict=True))
    active = [step.active for step in seen]
    assert active == sorted(active, reverse=True) and active[-1] < len(TARGETS)


def test_search_generator_is_seeded() -> None:
    def random_guess(target, count, generator):
        return torch.randint(1, 9, (len(target), count, 8), generator=generator)

    runs = [search(TARGETS, **{**PARTS, "hypothesize": random_guess}, steps=1, beam=2, seed=s) for s in (1, 1, 2)]
    assert torch.equal(runs[0].signals, runs[1].signals)
    assert not torch.equal(runs[0].signals, runs[2].signals)


@pytest.mark.parametrize("bad", [{"target": TARGETS[:0]}, {"target": TARGETS, "max_queries": 0}])
def test_search_of_nothing_is_refused(bad) -> None:
    with pytest.raises(ValueError, match="needs a target"):
        search(bad.pop("target"), **PARTS, **bad)
