"""The contract of the recipe, and what it refuses."""

import json

import pytest
import torch

import unembed
from unembed.config import read_toml
from unembed.registry.discovery import method
from unembed.testing.checks import TRAINING
from unembed.testing.checks.training import Training
from unembed.testing.suite import Suite
from unembed_image.methods.flow.recipe import ImageRecipe

PLACES = ("embedder", "train", "validation")
SMALL = {"batch": 4}  # where a rule of the contract is looked at, not what is learnt


@pytest.fixture(scope="module")
def table(photos, clip_folder, request):
    found = read_toml(request.path.parents[1] / "toy.toml")["recipe"]
    places = {"embedder": f"clip:{clip_folder}", "train": [str(photos)], "validation": [str(photos)]}
    return {**found, **places}


def test_training_conforms(table) -> None:
    Suite(TRAINING, lambda: (Training(method("flow"), table | SMALL),)).require(None)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"train": []}, "train"),
        ({"size": 8}, "size"),
        ({"size": 36}, "a multiple of 8"),
        ({"width": 100}, "width"),
    ],
)
def test_wrong_tables_are_refused(change, told, table) -> None:
    with pytest.raises(unembed.ConfigError, match=told):
        ImageRecipe({**table, **change, "device": "cpu", "seed": 0})


def test_training_for_probabilities_conforms(table, small_classifier) -> None:
    change = {"embedder": "efficientnet-lite0:probs", "space": "log", "independent": "efficientnet-lite0"}
    Suite(TRAINING, lambda: (Training(method("flow"), table | SMALL | change),)).require(None)


@pytest.mark.slow
def test_training_goes_on_exactly(table, tmp_path, request) -> None:
    """The surrogate's state is saved with the denoiser's."""
    from unembed.training import train

    def run(name: str, *more: str, resume: bool = False) -> dict[str, torch.Tensor]:
        changes = [f"recipe.{key}={json.dumps(value)}" for key, value in table.items() if key in PLACES]
        changes += ["recipe.batch=4", "recipe.held_out=2"]
        changes += [
            "steps=6",
            "round_steps=2",
            "guess_steps=2",
            "warmup=2",
            "evaluate_steps=0",
            f"output={tmp_path / name}",
        ]
        train((request.path.parents[1] / "toy.toml"), overrides=[*changes, *more], resume=resume)
        return torch.load(tmp_path / name / "state.pt", weights_only=True)["network"]

    whole = run("whole")
    stopped = run("parts", "max_seconds=0")
    resumed = run("parts", resume=True)
    assert any("surrogate" in name for name in whole) and whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert not all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_batches_are_the_images_mirrored_or_not(table) -> None:
    recipe = ImageRecipe({**table, "vary": 0.0, "device": "cpu", "seed": 0})
    images = recipe.images.float() / 255
    known = torch.cat([images, images.flip(-1)]).flatten(1)
    (found,) = recipe.batches(1, torch.Generator().manual_seed(0))
    nearest = torch.cdist(found.flatten(1), known).argmin(1)
    assert (known[nearest] - found.flatten(1)).abs().max() <= 1.01 / 255
    assert 0 < (nearest < len(images)).sum() < len(found)


def test_half_the_hypotheses_are_corrected_and_half_go_towards_the_photograph(table) -> None:
    recipe = ImageRecipe({**table, "batch": 4, "device": "cpu", "seed": 0})
    (signals,) = recipe.batches(1, torch.Generator().manual_seed(0))
    target, start = recipe.embed(signals), torch.full_like(signals, 0.5)
    made = recipe.propose(target, start, recipe.embed(start), signals, torch.Generator().manual_seed(0))
    way = (made - start)[2:] / (signals - start)[2:]
    apart = (signals - start)[2:].abs() > 0.2
    for row, far in zip(way, apart, strict=True):
        assert 0 < row[far].mean() < 1 and row[far].std() < 0.05
    assert (made[:2] != start[:2]).any() and torch.equal(made, (made * 255).round() / 255)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler's own look at its inputs
def test_compiled_parts_learn_the_same(table) -> None:
    recipe = ImageRecipe({**table, "batch": 4, "device": "cpu", "seed": 0})
    (signals,) = recipe.batches(1, torch.Generator().manual_seed(0))
    target = recipe.embed(signals)

    def learnt() -> tuple[float, list[torch.Tensor]]:
        torch.manual_seed(0)  # times and noise
        loss = recipe.network(target, signals)
        loss.backward()
        found = [p.grad.clone() for p in recipe.network.parameters()]
        recipe.network.zero_grad()
        return loss.item(), found

    plain = learnt()
    recipe.compile()
    fast = learnt()
    assert fast[0] == pytest.approx(plain[0], rel=1e-4)
    assert all(torch.allclose(a, b, rtol=1e-2, atol=1e-5) for a, b in zip(plain[1], fast[1], strict=True))


def test_a_text_embedder_is_refused(table, toy_plugin) -> None:
    with pytest.raises(unembed.InputError, match="embedder 'toy' takes toy, not images"):
        ImageRecipe({**table, "embedder": "toy", "device": "cpu", "seed": 0})
