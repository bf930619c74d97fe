"""The method: a small training, the inverter that it saves, and the conformance suite on both."""

import json
import tomllib
from pathlib import Path

import pytest
import torch

import unembed
from unembed.errors import ConfigError, EmbedderMismatchError, InputError
from unembed.registry.discovery import method
from unembed.testing import inverter_checks
from unembed.testing.checks import TRAINING
from unembed.testing.checks.training import Training
from unembed.testing.suite import Suite
from unembed.training import train
from unembed_lm.layout import ABSENT, parted
from unembed_lm.methods.logprobs.recipe import PromptRecipe

OBJECTS = ["write a poem", "sing the sea please", "explain rain in Python", "draw two lists"]
_made: dict = {}  # what the suites' subjects are built from, by fixtures


def config(table: dict, folder, **top) -> str:
    settings = {"method": "logprobs", "output": str(folder), "device": "cpu", **top}
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    text = "\n".join([*lines, "[recipe]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())])
    tomllib.loads(text)
    return text


@pytest.fixture(scope="module")
def recipe(table) -> PromptRecipe:
    return PromptRecipe({**table, "device": "cpu", "seed": 0})


@Suite(TRAINING, lambda: (Training(method("logprobs"), _made["table"]),)).parametrize(None)
def test_the_recipe_conforms(check, table) -> None:
    _made["table"] = table
    check()


def untrained() -> unembed.Inverter:
    _made["recipe"].network.eval()
    return _made["recipe"].inverter()


@inverter_checks(untrained, OBJECTS)
def test_an_untrained_inverter_conforms(check, recipe) -> None:
    _made["recipe"] = recipe
    check()


def test_training_lowers_both_losses_and_the_loop_finds_more(table, tmp_path) -> None:
    path = tmp_path / "config.toml"
    top = {"steps": 100, "round_steps": 10, "guess_steps": 25, "warmup": 10, "evaluate_every": 100, "depth": 2}
    path.write_text(config(table, tmp_path / "run", **top))
    train(path)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    for name in ("guess_loss", "correct_loss"):
        losses = [row[name] for row in log if name in row]
        assert losses[-1] < 0.7 * losses[0]
    inverter = unembed.load(tmp_path / "run" / "checkpoint", device="cpu", self_test=True)
    objects = Path(table["train"][0]).read_text().splitlines()[::2]
    vectors = inverter.embed(objects)
    first = inverter.embedder.layout.cut(vectors, 1)  # one step observed
    for target in (vectors, first):
        guess, corrected = inverter.invert(target, steps=0, beam=1), inverter.invert(target, steps=2, beam=3)
        assert corrected.similarity.mean() > guess.similarity.mean()
        better = inverter.exact(objects, corrected).float().mean() - inverter.exact(objects, guess).float().mean()
        assert better > 0.1


def test_targets_are_observed_for_fewer_steps_and_hypotheses_follow_them(recipe) -> None:
    (signals,) = recipe.batches(1, torch.Generator().manual_seed(0))
    whole = recipe.embed(signals)
    target, told = recipe.observe(whole, torch.Generator().manual_seed(0))
    assert told is None
    layout = recipe.embedder.layout
    (_, before), (ratios, after) = layout.unpack(whole), layout.unpack(target)
    cut = ((before != ABSENT) & (after == ABSENT)).any(1)
    assert 0 < cut.sum() < len(cut) and (after[:, 0] != ABSENT).all()
    assert not ratios[after == ABSENT].any()
    made = recipe.propose(target, None, None, signals, torch.Generator().manual_seed(0))
    prompts, continuation = parted(made, layout.steps)
    assert torch.equal(continuation, after) and (prompts[:, 0] != ABSENT).all()
    assert torch.equal(layout.unpack(recipe.embed(made))[1], after)


def test_fewer_tokens_are_written_where_the_config_says_so(table) -> None:
    small = PromptRecipe({**table, "vocabulary": 300, "device": "cpu", "seed": 0})
    ids = small.network.ids
    assert len(ids.kept) == 300 and small.network.decoder.token_embed.weight.shape[0] == 304
    spelt = small.embedder.codec.encode(OBJECTS)
    again = ids.written(ids.read(spelt))
    assert ((again == spelt) | (again == ABSENT)).all() and (again == spelt).float().mean() > 0.9


def test_it_goes_on_from_a_checkpoint(recipe, table, tmp_path) -> None:
    recipe.network.eval()
    recipe.save(tmp_path / "checkpoint", {})
    again = PromptRecipe({**table, "start": str(tmp_path / "checkpoint"), "device": "cpu", "seed": 1})
    for a, b in zip(recipe.network.state_dict().values(), again.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ConfigError, match=r"hidden: .*has 32; leave hidden out"):
        PromptRecipe({**table, "start": str(tmp_path / "checkpoint"), "hidden": 64, "device": "cpu", "seed": 1})


def test_another_models_tokens_are_refused(recipe, model, tmp_path) -> None:
    recipe.network.eval()
    recipe.save(tmp_path / "checkpoint", {})
    with pytest.raises(EmbedderMismatchError, match="reads the log-ratios of 132 tokens"):
        unembed.load(tmp_path / "checkpoint", device="cpu", embedder=f"lm:{model}?steps=4&width=16&seed=3")
    with pytest.raises(InputError, match="is no such model"):
        unembed.load(tmp_path / "checkpoint", device="cpu", embedder=object())
    full = unembed.load(tmp_path / "checkpoint", device="cpu", embedder=f"lm:{model}?steps=4&width=16&access=full")
    vectors = full.embed(OBJECTS)
    made = full.hypothesizer.hypothesize(vectors, 2)
    assert (parted(made, 4)[1] == ABSENT).all()
    assert len(full.invert(vectors, steps=1, beam=2).objects) == len(OBJECTS)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"embedder": "minilm"}, "is no language model"),
        ({"longest": 99}, "takes prompts of 16 tokens"),
        ({"portions": {"none": 0.5}}, "no file is called"),
        ({"portions": {"prompts": 0.5}}, "add up to 0.5"),
        ({"layers": 9}, "layers"),
    ],
)
def test_recipe_refuses_what_it_cant_obey(table, changes, told) -> None:
    with pytest.raises(ConfigError, match=told):
        PromptRecipe({**table, **changes, "device": "cpu", "seed": 0})


@pytest.mark.parametrize(("place", "value"), [(132, 5000.0), (132, -3.0), (132, 0.0), (2 * 133 - 1, 0.0)])
def test_vectors_that_no_model_answered_are_refused(recipe, place, value) -> None:
    """An id beyond the vocabulary, one below all, no first step, a step missing between two."""
    recipe.network.eval()
    inverter = recipe.inverter()
    vectors = inverter.embed([*OBJECTS[:1], *OBJECTS]).clone()
    assert (inverter.embedder.layout.unpack(vectors)[1][1, :3] != ABSENT).all()
    vectors[1, place] = value
    with pytest.raises(InputError, match="row 1 of the vectors is no answer of this model"):
        inverter.invert(vectors, steps=1, beam=2)
