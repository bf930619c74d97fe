"""The contract of the recipe, and what it refuses."""

import pytest

import unembed
from unembed.config import read_toml
from unembed.registry import modality
from unembed.testing.checks import TRAINING
from unembed.testing.checks.training import Training
from unembed.testing.suite import Suite
from unembed_image.recipe import ImageRecipe


@pytest.fixture(scope="module")
def table(photos, clip_folder, request):
    found = read_toml(request.path.with_name("toy.toml"))["recipe"]
    places = {"embedder": f"clip:{clip_folder}", "train": [str(photos)], "validation": [str(photos)]}
    return {**found, **places}


def test_training_conforms(table) -> None:
    Suite(TRAINING, lambda: (Training(modality("image"), table),)).require(None)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"patch": 7}, "patch must divide size"),
        ({"heads": 3}, "heads width"),
        ({"train": []}, "train"),
        ({"size": 8}, "size"),
    ],
)
def test_wrong_tables_are_refused(change, told, table) -> None:
    with pytest.raises(unembed.ConfigError, match=told):
        ImageRecipe({**table, **change, "device": "cpu", "seed": 0})


def test_a_text_embedder_is_refused(table, toy_plugin) -> None:
    with pytest.raises(unembed.InputError, match="embedder 'toy' takes toy, not images"):
        ImageRecipe({**table, "embedder": "toy", "device": "cpu", "seed": 0})
