"""The bundle: what it accepts, what it refuses, what it returns."""

import numpy as np
import pytest
import torch

from unembed.contract.proposers import Corrector, Hypothesizer
from unembed.errors import InputError
from unembed.inversion.inverter import Inverter
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
        ([[1.0], [1.0, 2.0]], "can't be read as numbers"),
        (["a"], "can't be read as numbers"),
        (np.array([["a"]], dtype=object), "can't be read as numbers"),
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
