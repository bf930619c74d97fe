"""Efforts: known names, overrides, and what an inverter does with them."""

from dataclasses import replace

import pytest
import torch

from unembed.contract.proposers import Corrector
from unembed.costs.meter import Meter
from unembed.engine.effort import EFFORTS, Effort
from unembed.engine.limits import Limits
from unembed.engine.moves import Combine, Correct, Edit, Guess, Widen
from unembed.errors import InputError
from unembed.inversion.evaluation import evaluate
from unembed.inversion.inverter import Inverter
from unembed.testing.toy import OneLetter, toy_inverter, words


class Counting(Corrector):
    """An editor that remembers how often it was asked."""

    def __init__(self, table) -> None:
        self.inner, self.calls = OneLetter(table), 0

    def _correct(self, target, hypothesis, embedding, count, generator):
        self.calls += 1
        few = self.inner.correct(target, hypothesis, embedding, min(count, 72))
        return few.repeat(1, -(-count // few.shape[1]), 1)[:, :count]


@pytest.fixture
def edited():
    whole = toy_inverter()
    editor = Counting(whole.embedder.table)
    parts = {"embedder": whole.embedder, "hypothesizer": whole.hypothesizer, "corrector": whole.corrector}
    return Inverter(name="edited", **parts, codec=whole.codec, editor=editor), editor


def test_effort_gives_way_to_what_is_asked_for() -> None:
    found = EFFORTS["max"].override(steps=0)
    assert found == replace(EFFORTS["max"], limits=replace(EFFORTS["max"].limits, steps=0))
    assert EFFORTS["low"].override(max_queries=9, patience=1).limits == Limits(steps=4, patience=1, max_queries=9)
    assert EFFORTS["low"].override() == EFFORTS["low"]


def test_another_beam_sets_the_corrections_of_each_too() -> None:
    apart = Effort(start=Guess(count=5), moves=(Correct(count=64, keep=1), Edit(count=9)), beam=8)
    found = apart.override(beam=3)
    assert (found.start, found.beam) == (Guess(count=5), 3) and apart.override(beam=7).start == Guess(count=7)
    assert found.moves == (Correct(), Edit(count=9)) and found.moves[0].most(3) == 9
    wide = replace(apart, moves=(Widen(inner=Correct(count=64, keep=1)),))
    assert wide.override(beam=2).moves == (Widen(inner=Correct()),)


@pytest.mark.parametrize("bad", [{"steps": -1}, {"beam": 0}, {"max_queries": 0}, {"patience": 0}])
def test_effort_refuses_wrong_settings(bad) -> None:
    with pytest.raises(InputError, match=f"{next(iter(bad))} must be at least"):
        EFFORTS["low"].override(**bad)


@pytest.mark.parametrize("bad", [{"factors": ()}, {"factors": (0, 1)}, {"inner": Edit(count=2)}])
def test_widen_refuses_what_it_cannot_widen(bad) -> None:
    with pytest.raises(InputError, match="Widen"):
        Widen(**{"inner": Correct(), **bad})


def test_moves_whose_parts_are_missing_are_left_out() -> None:
    high = EFFORTS["high"]
    assert high.fitted({"guess", "correct"}).moves == (Correct(count=8),)
    assert high.fitted({"guess", "correct", "edit"}).moves[1] == Edit(count=64, elite=2, keep=2)
    assert high.fitted({"guess", "correct", "edit", "combine"}).moves[1] == Combine(count=128, keep=2)
    wide = Effort(moves=(Widen(inner=Correct()),))
    assert wide.fitted({"guess"}).moves == () and wide.fitted({"guess", "correct"}) == wide


def test_the_most_that_an_effort_asks_is_that_of_its_moves() -> None:
    effort = Effort(start=Guess(count=5), moves=(Correct(count=4), Edit(count=3, elite=2)), beam=2)
    assert effort.most() == 5 + 20 * (2 * 4 + 3 * 2)
    assert replace(effort, moves=(Combine(count=3),)).most() == 5 + 20 * (3 + 2 * 8)
    assert replace(effort, moves=(Widen(inner=Correct(count=4), factors=(1, 5)),)).most() == 5 + 20 * 5 * 2 * 4
    assert effort.override(max_queries=30).most() == 30
    assert EFFORTS["high"].most() == 5000 and EFFORTS["high"].override(steps=1).most() == 8 + 64 + 128 + 16


def test_effort_unknown_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"'heroic'.*low, medium, high, max"):
        toy_inverter().invert([[1.0] * 24], effort="heroic")


def test_more_effort_costs_more_and_is_never_worse() -> None:
    inverter = toy_inverter()
    vectors = inverter.embed(words(30, seed=5))
    low, high = (inverter.invert(vectors, effort=name) for name in ("low", "max"))
    assert low.queries.sum() < high.queries.sum()
    assert low.similarity.mean() < high.similarity.mean()


def test_exhaustive_begins_as_max_and_finds_more() -> None:
    inverter = toy_inverter()
    vectors = inverter.embed(words(60, seed=8))
    little = {"steps": 12, "beam": 2, "patience": 4}
    most, all_of_it = (inverter.invert(vectors, effort=name, **little) for name in ("max", "exhaustive"))
    assert all_of_it.stopped.count("solved") > most.stopped.count("solved")
    solved_at_once = (most.steps <= 1) & (most.similarity > 1 - 1e-5)
    assert solved_at_once.any() and torch.equal(all_of_it.queries[solved_at_once], most.queries[solved_at_once])


def test_exhaustive_is_for_models_that_run_here() -> None:
    inverter = toy_inverter()
    assert inverter.settings("exhaustive").most() == 60_000 and inverter.settings("max").most() <= 5_000
    inverter.embedder.meter = Meter()
    with pytest.raises(InputError, match=r"models that run here.*60000 queries"):
        inverter.invert([[1.0] * 24], effort="exhaustive")
    assert inverter.settings("exhaustive", max_queries=7000).limits.max_queries == 7000


def test_an_editor_is_asked_at_high_effort_alone(edited) -> None:
    inverter, editor = edited
    vectors = inverter.embed(words(5, seed=6))
    inverter.invert(vectors, effort="medium")
    assert editor.calls == 0
    plain = toy_inverter().invert(vectors, effort="high")
    helped = inverter.invert(vectors, effort="high")
    assert editor.calls > 0
    assert (helped.similarity >= plain.similarity - 1e-6).all()


def test_an_inverter_says_what_its_efforts_mean() -> None:
    whole = toy_inverter()
    parts = {key: getattr(whole, key) for key in ("embedder", "hypothesizer", "corrector", "codec")}
    high = Effort(start=Guess(count=5), moves=(Correct(count=3),), beam=2, limits=Limits(steps=1))
    own = Inverter(name="own", **parts, efforts={"high": high, "exhaustive": EFFORTS["max"]})
    vectors = own.embed(words(8, seed=6))
    assert own.settings("high", max_queries=40) == replace(high, limits=Limits(steps=1, max_queries=40))
    assert own.settings("low") == EFFORTS["low"] and "high" in EFFORTS and EFFORTS["high"].start.count is None
    assert (own.invert(vectors, effort="high").queries <= 5 + 2 * 3 + 1).all()
    assert (own.invert(vectors, effort="high").steps <= 1).all()
    assert 5 < evaluate(own, own.codec.encode(words(8, seed=6)), effort="high").metrics["queries_per_item"] <= 12
    assert own.settings("high", beam=7).start.count == 7
    named, given = (own.invert(vectors, effort=effort).similarity for effort in ("exhaustive", EFFORTS["max"]))
    assert torch.equal(named, given)
