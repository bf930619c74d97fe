"""Weights are found in a plugin's tree first, then in a distribution of their own."""

from importlib.metadata import EntryPoint

import pytest

from unembed import MissingExtraError, PluginError
from unembed.registry import weights
from unembed.registry.weights import find_weights


@pytest.fixture
def offer(monkeypatch, tmp_path):
    """Install packages of weights, each with a folder `small`: `offer("one", …)`."""

    def install(*packages: str) -> None:
        for package in packages:
            (tmp_path / package / "small").mkdir(parents=True)
        monkeypatch.syspath_prepend(tmp_path)
        points = [EntryPoint("small", package, weights.GROUP) for package in packages]
        monkeypatch.setattr(weights, "entry_points", lambda group, name: [x for x in points if x.name == name])

    return install


def test_the_tree_comes_first(offer, tmp_path) -> None:
    offer("weights_of_small")
    (tmp_path / "tree/small").mkdir(parents=True)
    assert find_weights("small", tmp_path / "tree") == tmp_path / "tree/small"
    assert find_weights("small", tmp_path / "elsewhere") == tmp_path / "weights_of_small/small"


def test_missing_weights_name_their_distribution(offer, tmp_path) -> None:
    offer("weights_of_small")
    with pytest.raises(MissingExtraError, match="'large' aren't installed: pip install unembed-large"):
        find_weights("large", tmp_path)
    with pytest.raises(MissingExtraError, match="pip install unembed-small"):
        find_weights("small", tmp_path, "another")


def test_two_distributions_of_the_same_weights_are_an_error(offer, tmp_path) -> None:
    offer("weights_one", "weights_two")
    with pytest.raises(PluginError, match="weights_one and weights_two"):
        find_weights("small", tmp_path)
