"""The contract of the recipe, and what it refuses."""

import json

import pytest
import torch

import unembed
from unembed.config import read_toml
from unembed.registry import modality
from unembed.testing.checks import TRAINING
from unembed.testing.checks.training import Training
from unembed.testing.suite import Suite
from unembed_image.recipe import ImageRecipe

PLACES = ("embedder", "train", "validation")


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
        ({"pixel": 0, "critic": 1}, "a critic knows no target"),
        ({"perceptual": 1}, "needs features"),
    ],
)
def test_wrong_tables_are_refused(change, told, table) -> None:
    with pytest.raises(unembed.ConfigError, match=told):
        ImageRecipe({**table, **change, "device": "cpu", "seed": 0})


def test_features_of_the_black_box_are_refused(table) -> None:
    """It may only be queried: its gradients are nobody's."""
    change = {"perceptual": 1, "features": table["embedder"]}
    with pytest.raises(unembed.ConfigError, match="another network than the black box"):
        ImageRecipe({**table, **change, "device": "cpu", "seed": 0})


def test_training_with_all_losses_conforms(table) -> None:
    losses = {"perceptual": 1, "student": 0.5, "critic": 0.3, "features": "efficientnet-lite0", "features_size": 32}
    change = {**losses, "independent": "efficientnet-lite0", "batch": 4}
    Suite(TRAINING, lambda: (Training(modality("image"), {**table, **change}),)).require(None)


@pytest.mark.slow
def test_training_with_helpers_goes_on_exactly(table, tmp_path, request) -> None:
    """Student, critic and the state of its spectral norms are saved with the painter."""
    from unembed.training import train

    def run(name: str, *more: str, resume: bool = False) -> dict[str, torch.Tensor]:
        changes = [f"recipe.{key}={json.dumps(value)}" for key, value in table.items() if key in PLACES]
        changes += ["recipe.student=1", "recipe.critic=0.3", "recipe.batch=4", "recipe.held_out=2"]
        changes += [
            "steps=6",
            "round_steps=2",
            "guess_steps=2",
            "warmup=2",
            "evaluate_steps=0",
            f"output={tmp_path / name}",
        ]
        train(request.path.with_name("toy.toml"), overrides=[*changes, *more], resume=resume)
        return torch.load(tmp_path / name / "state.pt", weights_only=True)["network"]

    whole = run("whole")
    stopped = run("parts", "max_seconds=0")
    resumed = run("parts", resume=True)
    assert any("_u" in name for name in whole) and whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert not all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_batches_are_the_images_a_few_pixels_aside(table) -> None:
    recipe = ImageRecipe({**table, "shift": 2, "device": "cpu", "seed": 0})
    images = recipe.images[:8].float() / 255
    moved = recipe._moved(images, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape and not torch.equal(moved, images)
    wide = torch.nn.functional.pad(images, (2,) * 4, mode="reflect")
    for image, found in zip(wide, moved, strict=True):
        windows = image.unfold(1, 32, 1).unfold(2, 32, 1).flatten(1, 2)  # [3, 25, 32, 32]
        assert (windows == found[:, None]).flatten(2).all(2).all(0).any()
    still = ImageRecipe({**table, "shift": 0, "device": "cpu", "seed": 0})
    assert torch.equal(still._moved(images, torch.Generator()), images)


def test_a_text_embedder_is_refused(table, toy_plugin) -> None:
    with pytest.raises(unembed.InputError, match="embedder 'toy' takes toy, not images"):
        ImageRecipe({**table, "embedder": "toy", "device": "cpu", "seed": 0})
