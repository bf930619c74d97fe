"""Training the toy: it learns, it reports, and a kill at any moment changes nothing."""

import json
import logging
from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest
import torch

from unembed.checkpoints import tensors
from unembed.checkpoints.manifest import read_manifest
from unembed.config import parse
from unembed.errors import ConfigError, InputError, TrainingError
from unembed.registry import discovery, opening
from unembed.testing.toy import ToyRecipe
from unembed.training import TrainConfig, Trainer, output, train

from .conftest import BASE, trainer


def weights(made):
    return {name: value.clone() for name, value in made.recipe.network.state_dict().items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The weights of a run that nobody interrupted."""
    made = trainer(tmp_path_factory.mktemp("whole"))
    made.run()
    return weights(made)


def same(a, b) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_run_lowers_the_loss(tmp_path) -> None:
    losses = {"guess_loss": [], "correct_loss": []}

    def on_event(kind, step, values):
        for name in losses.keys() & values.keys():
            losses[name].append(values[name])

    trainer(tmp_path, steps=400, round_steps=10, guess_steps=100).run(on_event)
    assert losses["guess_loss"][-1] < 0.75 * losses["guess_loss"][0]
    assert losses["correct_loss"][-1] < losses["guess_loss"][-1]


def test_run_twice_gives_the_same_weights(tmp_path, whole) -> None:
    made = trainer(tmp_path)
    made.run()
    assert same(weights(made), whole)


@pytest.mark.parametrize("moment", ["scalars", "saved", "sample"])
@pytest.mark.parametrize("nth", [1, 2])
def test_resume_after_a_kill_gives_the_same_weights(tmp_path, whole, moment, nth) -> None:
    left = [nth]

    def die(kind, step, values):
        if kind == moment:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path).run(die)
    made = trainer(tmp_path, resume=(tmp_path / "state.pt").exists())
    made.run()
    assert same(weights(made), whole)


# Where a second save is killed: in its state, before the state is renamed, in its checkpoint.
KILLS = [(torch, "save", 2, 8), (output.os, "replace", 5, 8), (tensors, "save_file", 2, 16)]


@pytest.mark.parametrize(("module", "name", "nth", "reached"), KILLS, ids=["state", "rename", "checkpoint"])
def test_resume_after_a_kill_while_saving(tmp_path, whole, monkeypatch, module, name, nth, reached) -> None:
    work, calls = getattr(module, name), []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == nth:
            raise KeyboardInterrupt
        return work(*arguments)

    monkeypatch.setattr(module, name, killed)
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path).run()
    monkeypatch.undo()
    made = trainer(tmp_path, resume=True)
    assert made.step == reached
    made.run()
    assert same(weights(made), whole)
    assert read_manifest(tmp_path / "checkpoint").training["steps"] == 40


def test_run_stops_at_max_seconds_and_goes_on(tmp_path, whole) -> None:
    stopped = trainer(tmp_path, max_seconds=0.0)
    stopped.run()
    assert stopped.step == 4
    made = trainer(tmp_path, resume=True)
    assert made.step == 4
    made.run()
    assert same(weights(made), whole)


def test_run_ends_when_its_time_is_over(tmp_path) -> None:
    made = trainer(tmp_path, total_seconds=0.01)
    made.run()
    assert 0 < made.step < 40
    assert (tmp_path / "checkpoint" / "manifest.json").is_file()


def test_train_writes_a_log_tensorboard_and_a_checkpoint(config, tmp_path, caplog) -> None:
    caplog.set_level(logging.INFO, "unembed.training")
    train(config, overrides=["log_every=1"])
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {row["kind"] for row in rows} == {"scalars", "saved", "sample"}
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
    assert "examples_per_second" in caplog.text and "share_of_peak" in caplog.text
    assert "reconstruction" in caplog.text
    assert opening.load(str(tmp_path / "run" / "checkpoint")).name == "toy"


def test_train_takes_overrides(config, tmp_path) -> None:
    train(config, overrides=["steps=4", "recipe.hidden=16"])
    manifest = json.loads((tmp_path / "run" / "checkpoint" / "manifest.json").read_text())
    assert manifest["config"] == {"hidden": 16}
    assert manifest["training"]["steps"] == 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stepz=4", "stepz"),
        ("recipe.hiden=4", r"\[recipe\]: hiden"),
        ("steps=0", "steps"),
        ("steps=true", "steps: .*expected a number, got true"),
        ("steps", "key=value"),
        ("steps=4\nseed=9", "several lines"),
        ("=4", "key=value"),
        ("method.x=1", "not a table"),
        ("rate=inf", "rate"),
        ("max_seconds=nan", "max_seconds"),
        ("seed=-1", "seed"),
        ("output=", "output: .*name a folder"),
        ("evaluate_beam=1000000", "evaluate_beam"),
        ("recipe.hidden=-1", "hidden"),
        ("recipe.batch=100000000000", "batch"),
        ("recipe.device=cuda", r"\[recipe\] device: set it at the top"),
        ("recipe.seed=7", r"\[recipe\] seed: set it at the top"),
        ("device=warp", "device 'warp' can't be used here"),
        ("device=meta", "device 'meta' can't be used here"),
    ],
)
def test_train_refuses_wrong_values_before_any_work(config, tmp_path, override, message) -> None:
    with pytest.raises((ConfigError, InputError), match=message) as caught:
        train(config, overrides=[override])
    assert not (tmp_path / "run").exists() and len(str(caught.value)) < 300


def test_depth_is_at_most_the_methods(config, tmp_path, monkeypatch) -> None:
    shallow = replace(discovery.method("toy"), depth=1)
    monkeypatch.setattr(discovery, "method", lambda name: shallow)
    with pytest.raises(ConfigError, match="depth: 2 is too much for method 'toy'; set depth = 1"):
        train(config, overrides=["depth=2"])
    train(config)
    assert read_manifest(tmp_path / "run" / "checkpoint").training["config"]["depth"] == 1
    monkeypatch.setattr(discovery, "method", lambda name: replace(shallow, recipe=None))
    with pytest.raises(ConfigError, match="isn't trained by a config"):
        train(config, overrides=[f"output={tmp_path / 'other'}"])


def test_weights_that_are_no_numbers_arent_saved(tmp_path) -> None:
    made = trainer(tmp_path)
    made.recipe.network.inner[0].bias.data[0] = torch.inf
    with pytest.raises(TrainingError, match="weights aren't finite"):
        made._save()
    assert not list(tmp_path.iterdir())


def test_held_out_objects_are_read_before_training(config, tmp_path, monkeypatch) -> None:
    def missing(recipe):
        raise InputError("no file none.txt")

    monkeypatch.setattr(ToyRecipe, "held_out", missing)
    with pytest.raises(InputError, match=r"no file none\.txt"):
        train(config)
    assert not (tmp_path / "run" / "state.pt").exists()


def test_train_refuses_a_config_that_is_none(tmp_path) -> None:
    with pytest.raises(ConfigError, match="can't read"):
        train(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("= 3")
    with pytest.raises(ConfigError, match="isn't valid TOML"):
        train(tmp_path / "bad.toml")


def test_the_toy_is_found_by_its_entry_point() -> None:
    assert EntryPoint("toy", "unembed.testing.toy", "unembed").load().register_inverters()[0].name == "toy"


# Both in one launch: three processes import torch for it.
LAUNCHED = """
import os, sys
from importlib.metadata import EntryPoint
from pathlib import Path
import torch
from unembed.config import parse
from unembed.registry import discovery
from unembed.testing.toy import ToyRecipe
from unembed.training import TrainConfig, Trainer, train

torch.set_num_threads(1)
point = EntryPoint("toy", "unembed.testing.toy", "unembed")
discovery.entry_points = lambda group: (point,)
train(Path(sys.argv[1]), overrides=["steps=12", "guess_steps=4"])

folder, options = sys.argv[2], dict(steps=12, round_steps=4, guess_steps=4, save_every=8, evaluate_every=12)
config = parse(TrainConfig, {"method": "toy", "output": folder, **options}, "test")
made = Trainer(config, ToyRecipe({"device": "cpu", "seed": config.seed}))
drawn, kinds = made._examples, []

def examples(*given):
    found = drawn(*given)
    kinds.extend(example.hypothesis is not None for example in found)
    return found

made._examples = examples
made.run()
torch.save((made.examples, kinds, made.recipe.network.state_dict()), f"{folder}/of{os.environ['RANK']}.pt")
"""


@pytest.mark.slow
def test_two_processes_train_one_network_on_batches_of_their_own(config, tmp_path, forking) -> None:
    (tmp_path / "launched.py").write_text(LAUNCHED)
    launch = ("-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone")
    found = forking.run(*launch, tmp_path / "launched.py", config, tmp_path)
    assert found.returncode == 0, found.stderr[-2000:]
    training = json.loads((tmp_path / "run" / "checkpoint" / "manifest.json").read_text())["training"]
    assert (training["steps"], training["examples"]) == (12, 2 * 12 * 64)
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1
    (count, kinds, one), (again, others, two) = (
        torch.load(tmp_path / f"of{rank}.pt", weights_only=True) for rank in range(2)
    )
    alone = trainer(tmp_path / "alone", steps=12, round_steps=4, guess_steps=4, save_every=8, evaluate_every=12)
    alone.run()
    assert count == again == 2 * alone.examples
    assert kinds == others and len(set(kinds)) == 2 and kinds != sorted(kinds)
    assert same(one, two) and not same(one, weights(alone))


def test_weights_are_kept_as_they_are_before_the_rate_falls(tmp_path) -> None:
    seen, rates = [], {}

    def on_event(kind, step, values):
        seen.append((kind, step))
        rates[step] = values.get("rate", rates.get(step))

    trainer(tmp_path, decay=0.5, warmup=1, keep_held=True, save_every=8).run(on_event)
    (held,) = [step for kind, step in seen if kind == "held"]
    assert held == 20 and rates[20] == 1.0 and rates[24] < 1.0
    manifest = json.loads((tmp_path / "held" / "manifest.json").read_text())
    assert manifest["training"]["steps"] == 20
    again = trainer(tmp_path, decay=0.5, keep_held=True, resume=True)
    assert again.held and not trainer(tmp_path, decay=0.5, keep_held=True).held


class Foggy(ToyRecipe):
    """Shows embeddings with noise, and tells of it."""

    def observe(self, target, generator):
        return target + 0.1, torch.full_like(target[:, 0], 0.1)

    def propose(self, target, hypothesis, embedding, signals, generator, noise):
        self.heard.append(("propose", len(noise) == len(target)))
        return super().propose(target, hypothesis, embedding, signals, generator)


def test_what_training_shows_of_embeddings_is_told_beside_them(tmp_path) -> None:
    recipe = Foggy({"device": "cpu", "seed": 0})
    recipe.heard, forward = [], recipe.network.forward

    def hearing(target, *rest, noise, **more):
        recipe.heard.append(("network", bool((noise == 0.1).all()) and len(noise) == len(target)))
        return forward(target, *rest, **more)

    recipe.network.forward = hearing
    Trainer(parse(TrainConfig, {**BASE, "output": tmp_path, "steps": 12, "depth": 2}, "test"), recipe).run()
    assert {name for name, _ in recipe.heard} == {"propose", "network"} and all(fine for _, fine in recipe.heard)
