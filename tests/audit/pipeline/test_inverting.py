"""The inverter as the audit's loop sees it: results in order, each with the search's other candidates."""

import pytest

from unembed.testing.toy import toy_inverter, words
from unembed_audit.pipeline.inverting import CANDIDATES, inverted, same_to, tokens_of


@pytest.fixture(scope="module")
def inverter():
    return toy_inverter()


def test_results_are_those_of_the_inverter_with_candidates_of_their_own_search(inverter):
    given = words(7, seed=3)
    vectors = inverter.embed(given)
    found = list(inverted(inverter, [vectors[:5].numpy(), vectors[5:].numpy()], effort="low", seed=0, at_once=3))
    assert [one.place for one in found] == list(range(7))
    plain = [row for start in (0, 3, 6) for row in inverter.invert(vectors[start : start + 3], effort="low").rows()]
    for one, row, vector in zip(found, plain, vectors, strict=True):
        assert (one.text, one.queries, one.steps) == (row["reconstruction"], row["queries"], row["steps"])
        assert one.candidates[0] == one.text and 1 < len(one.candidates) <= CANDIDATES + 1
        assert len(set(one.candidates)) == len(one.candidates)
        assert list(one.similarities) == sorted(one.similarities, reverse=True)
        again = inverter.embedder.similarity(vector.expand(len(one.candidates), -1), inverter.embed(one.candidates))
        assert again.tolist() == pytest.approx(list(one.similarities), abs=1e-5)


def test_what_the_embedder_cant_tell_apart_is_the_same_and_tokens_are_counted(inverter):
    assert same_to(inverter, ["abba", "bad"], ["abba", "bag"]) == [True, False]
    assert same_to(inverter, ["abcdefghab"], ["abcdefgh"]) == [False]
    assert tokens_of(inverter, ["abba", "a"]) == [4, 1]
