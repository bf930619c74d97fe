"""The bundle: what it accepts, what it refuses, what it returns."""

import numpy as np
import pytest
import torch

from unembed.contract.proposers import Corrector, Hypothesizer
from unembed.errors import InputError
from unembed.inversion.inverter import Inverter
from unembed.inversion.precision import given_precision
from unembed.testing.toy import ToyCodec, ToyEmbedder, toy_inverter, words

INVERTER = toy_inverter()
WORDS = words(5, seed=4)
VECTORS = INVERTER.embed(WORDS)


@pytest.mark.parametrize("form", [lambda v: v, lambda v: v.numpy(), lambda v: v.tolist(), lambda v: v.double()])
def test_invert_takes_tensors_arrays_and_lists(form) -> None:
    assert INVERTER.invert(form(VECTORS), steps=2).objects == INVERTER.invert(VECTORS, steps=2).objects


def test_invert_takes_one_vector() -> None:
    assert INVERTER.invert(VECTORS[0], steps=2).objects == INVERTER.invert(VECTORS[:1], steps=2).objects


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (torch.ones(2, 7), "7 wide.*'toy'.*24 wide"),
        (torch.cat([VECTORS[:2], VECTORS[:1] * float("nan")]), "row 2.*NaN or infinity"),
        (torch.cat([VECTORS[:1], VECTORS[:1] * float("inf")]), "row 1.*NaN or infinity"),
        (torch.cat([VECTORS[:1], VECTORS[:1] * 0]), "row 1.*only zeros"),
        (torch.ones(0, 24), r"shape \[N, D\]"),
        (torch.ones(1, 2, 24), r"shape \[N, D\]"),
        ([[1.0], [1.0, 2.0]], "can't be read as an array of numbers"),
        (["a"], "these are texts"),
        (np.ones((1, 24), complex), "complex"),
        (np.array([["a"]], dtype=object), "can't be read as an array of numbers"),
    ],
)
def test_invert_refuses_what_are_no_vectors(vectors, message) -> None:
    before = INVERTER.embedder.queries
    with pytest.raises(InputError, match=message):
        INVERTER.invert(vectors)
    assert INVERTER.embedder.queries == before


@pytest.mark.parametrize("options", [{"steps": -1}, {"beam": 0}, {"max_queries": 0}])
def test_invert_refuses_impossible_options(options) -> None:
    with pytest.raises(InputError, match="at least"):
        INVERTER.invert(VECTORS, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"steps": 2.5}, "whole number"), ({"steps": "3"}, "whole number"), ({"step": 3}, "no setting step; those")],
)
def test_invert_refuses_options_of_another_kind(options, message) -> None:
    inverter = toy_inverter()
    with pytest.raises(InputError, match=message):
        inverter.invert(inverter.embed(["cafe"]), **options)


@pytest.mark.parametrize("texts", ["cafe", ["cafe", "bead"]])
def test_invert_of_texts_says_how(texts) -> None:
    with pytest.raises(InputError, match="these are texts"):
        toy_inverter().invert(texts)


def test_candidates_come_with_a_trace() -> None:
    inverter = toy_inverter()
    result = inverter.invert(inverter.embed(["cafe"]), candidates=True)
    assert result.trace[0].proposals()


def test_embed_one_text_says_how() -> None:
    with pytest.raises(InputError, match="list of inputs"):
        INVERTER.embed("cafe")


def test_exact_is_equality_of_signals() -> None:
    found = INVERTER.invert(VECTORS, steps=20)
    assert INVERTER.exact(WORDS, found).tolist() == [a == b for a, b in zip(WORDS, found.objects, strict=True)]
    assert not INVERTER.exact(["h" * 8] * 5, found).any()


class Holes(Hypothesizer):
    """Guesses a signal that no word has: decoding closes its hole."""

    def _hypothesize(self, target, count, generator):
        return torch.tensor([1, 0, 2, 0, 0, 0, 0, 0]).expand(len(target), count, 8)


class Same(Corrector):
    def _correct(self, target, hypothesis, embedding, count, generator):
        return hypothesis[:, None].expand(-1, count, -1)


def test_invert_measures_the_object_that_it_returns() -> None:
    embedder = ToyEmbedder()
    inverter = Inverter(name="holes", embedder=embedder, hypothesizer=Holes(), corrector=Same(), codec=ToyCodec())
    found = inverter.invert(VECTORS[:1], steps=1, beam=2)
    assert found.objects == ["ab"]
    assert found.signals.tolist() == [[1, 2, 0, 0, 0, 0, 0, 0]]
    assert torch.allclose(found.similarity, embedder.similarity(VECTORS[:1], inverter.embed(["ab"])))
    assert found.queries.tolist() == [2]
    assert found.stopped == ("stalled",)


def test_a_single_query_is_spent_on_what_is_returned() -> None:
    embedder = ToyEmbedder()
    inverter = Inverter(name="holes", embedder=embedder, hypothesizer=Holes(), corrector=Same(), codec=ToyCodec())
    before = embedder.queries
    found = inverter.invert(VECTORS[:2], max_queries=1)
    assert found.queries.tolist() == [1, 1] and embedder.queries - before == 1  # both have the same guess
    assert found.objects == ["ab", "ab"] and found.stopped == ("budget", "budget")
    assert found.signals.tolist() == [[1, 2, 0, 0, 0, 0, 0, 0]] * 2
    assert torch.allclose(found.similarity, embedder.similarity(VECTORS[:2], inverter.embed(["ab", "ab"])))


def test_an_inversion_is_its_rows() -> None:
    found = INVERTER.invert(VECTORS, steps=2)
    assert len(found) == 5 and list(found) == found.rows()
    assert [row["index"] for row in found] == [0, 1, 2, 3, 4]
    for number, row in enumerate(found.rows(inputs=WORDS, exact=[True] * 5)):
        assert list(row) == [
            "input", "reconstruction", "similarity", "exact", "confidence", "steps", "queries", "stopped",
            "precision", "verdict",
        ]  # fmt: skip
        assert (row["input"], row["reconstruction"]) == (WORDS[number], found.objects[number])
        assert row["similarity"] == found.similarity[number].item() and row["queries"] == found.queries[number]
        assert row["exact"] is True and row["confidence"] is None and row["stopped"] == found.stopped[number]


@pytest.mark.parametrize("sizes", [(5,), (1, 4), (2, 2, 1), (1, 1, 1, 1, 1)])
def test_a_stream_gives_the_rows_of_its_parts(sizes) -> None:
    batches = VECTORS.split(sizes)
    rows = list(INVERTER.stream(batches, at_once=2, steps=3, beam=2))
    wanted = [INVERTER.invert(part, steps=3, beam=2).rows() for part in VECTORS.split(2)]
    wanted = [row for part in wanted for row in part]
    assert [row.pop("index") for row in rows] == [0, 1, 2, 3, 4]
    assert rows == [{key: value for key, value in row.items() if key != "index"} for row in wanted]


def test_a_stream_reads_no_further_than_it_searches() -> None:
    read = []

    def batches():
        for vector in VECTORS:
            read.append(vector)
            yield vector

    rows = INVERTER.stream(batches(), at_once=2, steps=1)
    assert not read
    next(rows)
    assert len(read) == 2
    next(rows)
    assert len(read) == 2
    assert len(list(rows)) == 3 and len(read) == 5


def test_a_stream_refuses_an_unknown_effort_at_once() -> None:
    with pytest.raises(InputError, match="no effort"):
        INVERTER.stream([], effort="heroic")


def test_what_is_searched_at_once_fits_into_memory() -> None:
    low, high = (INVERTER.at_once(INVERTER.settings(name)) for name in ("low", "max"))
    assert low == high == 64
    huge = INVERTER.settings("max").override(beam=20_000)
    assert INVERTER.at_once(huge) == 1


def test_a_rounded_vector_is_solved_when_only_its_rounding_is_left() -> None:
    exact = INVERTER.invert(VECTORS, effort="high")
    rounded = INVERTER.invert((VECTORS * 1e3).round() / 1e3, effort="high")
    assert set(exact.precision) == {"float32"} and set(rounded.precision) == {"3 decimals"}
    solved = [number for number, why in enumerate(exact.stopped) if why == "solved"]
    assert solved and all(rounded.stopped[number] == "solved" for number in solved)
    assert all(rounded.objects[number] == exact.objects[number] for number in solved)
    given = INVERTER.invert(VECTORS, effort="high", precision="noise:0.001")
    assert set(given.precision) == {"noise:0.001"}
    with pytest.raises(InputError, match="noise"):
        INVERTER.invert(VECTORS, precision="int7")


def test_noise_that_hides_other_inputs_ends_no_search_early() -> None:
    noisy = VECTORS + 0.05 * torch.randn(VECTORS.shape, generator=torch.Generator().manual_seed(3))
    most = given_precision("noise:0.05", noisy).most
    unaware = INVERTER.invert(noisy, effort="low", precision="float32")
    assert ((unaware.similarity > 1 - most) & (unaware.steps > 1)).any(), "nothing would have ended early"
    told = INVERTER.invert(noisy, effort="low", precision="noise:0.05")
    assert told.objects == unaware.objects and "solved" not in told.stopped
