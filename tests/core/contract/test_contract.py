"""The contract that every plugin signs: shapes are checked and queries counted."""

import pytest
import torch

from unembed.contract.codec import Codec
from unembed.contract.embedder import Embedder
from unembed.contract.proposers import Hypothesizer
from unembed.contract.similarity import cosine
from unembed.errors import InputError, PluginError


class Doubler(Embedder):
    def __init__(self, dimension: int = 2, bad: bool = False) -> None:
        super().__init__(name="doubler", modality="toy", dimension=dimension, normalized=False)
        self.bad = bad

    def _embed(self, signals: torch.Tensor) -> torch.Tensor:
        return signals * float("nan") if self.bad else signals * 2


class Echo(Codec):
    probes = (0.0,)

    def _encode(self, objects):
        return torch.tensor(objects)

    def _decode(self, signals):
        return signals.tolist()


class TooFew(Hypothesizer):
    def _hypothesize(self, target, count, generator):
        return target[:, None].repeat(1, count - 1, 1)


def test_embed_counts_each_row_once() -> None:
    embedder = Doubler()
    assert torch.equal(embedder.embed(torch.ones(3, 2)), torch.full((3, 2), 2.0))
    assert embedder.embed(torch.ones(0, 2)).shape == (0, 2)
    assert embedder.queries == 3


def test_embed_wrong_width_is_the_plugins_fault() -> None:
    with pytest.raises(PluginError, match="declares"):
        Doubler(dimension=3).embed(torch.ones(3, 2))


def test_embed_nan_is_the_plugins_fault() -> None:
    with pytest.raises(PluginError, match="NaN"):
        Doubler(bad=True).embed(torch.ones(3, 2))


def test_hypothesize_wrong_count_names_the_contract() -> None:
    with pytest.raises(PluginError, match=r"\[2, 4, \.\.\.\]"):
        TooFew().hypothesize(torch.ones(2, 3), 4)


def test_encode_of_nothing_is_an_input_error() -> None:
    with pytest.raises(InputError, match="empty"):
        Echo().encode([])


def test_cosine_of_orthogonal_and_equal_rows() -> None:
    a = torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    assert torch.allclose(cosine(a, torch.tensor([[0.0, 2.0], [3.0, 4.0]])), torch.tensor([0.0, 1.0]))
