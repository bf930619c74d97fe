"""Efforts: known names, overrides, and what an inverter does with them."""

from dataclasses import replace

import pytest

from unembed.contract.proposers import Corrector
from unembed.engine.effort import EFFORTS, Effort, effort
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
    found = effort("max", steps=0)
    assert (found.steps, found.beam, found.edits) == (0, EFFORTS["max"].beam, EFFORTS["max"].edits)
    assert effort("max", beam=3).branch == 3
    apart = {"apart": replace(EFFORTS["max"], siblings=1)}
    assert effort("apart", efforts=apart).siblings == 1 and effort("apart", beam=3, efforts=apart).siblings is None
    assert effort("low", max_queries=9).max_queries == 9


@pytest.mark.parametrize("bad", [{"steps": -1}, {"beam": 0}, {"max_queries": 0}])
def test_effort_refuses_wrong_settings(bad) -> None:
    with pytest.raises(InputError, match="at least"):
        effort("low", **bad)


def test_effort_unknown_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"'heroic'.*low, medium, high, max"):
        toy_inverter().invert([[1.0] * 24], effort="heroic")


def test_more_effort_costs_more_and_is_never_worse() -> None:
    inverter = toy_inverter()
    vectors = inverter.embed(words(30, seed=5))
    low, high = (inverter.invert(vectors, effort=name) for name in ("low", "max"))
    assert low.queries.sum() < high.queries.sum()
    assert low.similarity.mean() < high.similarity.mean()


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
    own = Inverter(name="own", **parts, efforts={"high": Effort(steps=1, beam=2, branch=3, guesses=5)})
    vectors = own.embed(words(8, seed=6))
    assert own.settings("high", max_queries=40) == Effort(steps=1, beam=2, branch=3, guesses=5, max_queries=40)
    assert own.settings("low") == EFFORTS["low"] and "high" in EFFORTS and EFFORTS["high"].guesses is None
    assert (own.invert(vectors, effort="high").queries <= 5 + 2 * 3 + 1).all()
    assert (own.invert(vectors, effort="high").steps <= 1).all()
    assert 5 < evaluate(own, own.codec.encode(words(8, seed=6)), effort="high").metrics["queries_per_item"] <= 12
    assert own.settings("high", beam=7).guesses == 7
