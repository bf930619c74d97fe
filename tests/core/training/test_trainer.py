"""Training the toy: it learns, it reports, and a kill at any moment changes nothing."""

import json
import logging
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest
import torch

from unembed.checkpoints import tensors
from unembed.checkpoints.manifest import read_manifest
from unembed.config import parse
from unembed.errors import CheckpointError, ConfigError, InputError, TrainingError
from unembed.registry import discovery, opening
from unembed.testing.toy import ToyRecipe
from unembed.training import TrainConfig, Trainer, output, train
from unembed.training.report import Report

BASE = {"method": "toy", "steps": 40, "round_steps": 4, "guess_steps": 8, "save_every": 8, "evaluate_every": 16}


def trainer(folder, *, resume=False, **changes):
    config = parse(TrainConfig, {**BASE, "output": folder, **changes}, "test")
    recipe = ToyRecipe({"device": "cpu", "seed": config.seed})
    return Trainer(config, recipe, resume=resume)


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


@pytest.fixture
def config(tmp_path, toy_plugin):
    path = tmp_path / "toy.toml"
    path.write_text(f'method = "toy"\noutput = "{tmp_path}/run"\nsteps = 8\nround_steps = 4\n')
    return path


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
        ("steps=true", "steps: .*a number is wanted, not true"),
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


def foreign(run) -> None:
    (run / "checkpoint").mkdir(parents=True)
    (run / "checkpoint" / "photo.jpg").write_bytes(b"mine")


def named_as_ours(run) -> None:
    run.mkdir()
    (run / "state.pt").write_bytes(b"mine")


def notes(run) -> None:
    run.mkdir()
    (run / "notes.txt").write_bytes(b"mine")


def a_file(run) -> None:
    run.write_bytes(b"mine")


def a_dangling_link(run) -> None:
    run.symlink_to("nowhere")


def content(folder) -> dict:
    return {path: path.is_file() and path.read_bytes() for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("there", [foreign, named_as_ours, notes, a_file, a_dangling_link])
def test_train_refuses_an_output_that_isnt_its_own(config, tmp_path, there, resume) -> None:
    there(tmp_path / "run")
    before = content(tmp_path)
    with pytest.raises((InputError, CheckpointError), match="run"):
        train(config, resume=resume)
    found = {path: data for path, data in content(tmp_path).items() if path.name != ".lock"}
    assert found == before


@pytest.mark.parametrize("name", ["x" * 300, "toy.toml/under", "a\0b"])
def test_train_refuses_an_output_that_cant_be(config, tmp_path, name) -> None:
    with pytest.raises(InputError, match="can't be a folder"):
        train(config, overrides=[f"output={tmp_path / name}"])


@pytest.fixture
def trained(config, tmp_path):
    """The output of a finished run."""
    train(config)
    return tmp_path / "run"


def test_train_refuses_to_begin_where_a_training_is(config, trained) -> None:
    before = content(trained)
    with pytest.raises(InputError, match="holds a training; go on with --resume"):
        train(config)
    assert content(trained) == before


def test_resume_needs_something_to_resume(config, tmp_path) -> None:
    with pytest.raises(InputError, match=r"has no state\.pt to resume from; train without --resume"):
        train(config, resume=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("seed=5", "seed was 0 when this training began and is 5 now"),
        ("rate=0.5", r"rate was 0\.01"),
        ("recipe.hidden=9", r"recipe\.hidden was None"),
        ("steps=4", "steps: 4 are fewer than the 8 that are done"),
    ],
)
def test_resume_refuses_other_settings_than_it_began_with(config, trained, override, told) -> None:
    before = content(trained)
    with pytest.raises(InputError, match=told):
        train(config, resume=True, overrides=[override])
    assert content(trained) == before


def flipped(run) -> None:
    state = bytearray((run / "state.pt").read_bytes())
    state[len(state) // 2] ^= 4
    (run / "state.pt").write_bytes(state)


def written(content) -> object:
    return lambda run: (run / "state.pt").write_bytes(content)


def altered(**values) -> object:
    """A state of an older version, which has no checksum, with other values."""

    def alter(run) -> None:
        (run / "training.json").unlink()
        state = torch.load(run / "state.pt", weights_only=True)
        torch.save({key: value for key, value in {**state, **values}.items() if value is not ...}, run / "state.pt")

    return alter


def unrecorded(content: bytes) -> object:
    return lambda run: ((run / "training.json").unlink(), (run / "state.pt").write_bytes(content))


DAMAGE = [
    (flipped, "its checksum differs"),
    (written(b""), "its checksum differs"),
    (unrecorded(b""), "is damaged .EOFError"),
    (unrecorded(b"no zip, but a text"), "is damaged"),
    (unrecorded(b"PK\x03\x04 half"), "is damaged"),
    (lambda run: (run / "training.json").write_text("{"), r"training\.json is damaged"),
    (altered(step="many"), "its step is missing or wrong"),
    (altered(optimizer=...), "its optimizer is missing"),
    (altered(step=-5), "a step below zero"),
    (altered(network={"inner.0.weight": torch.tensor([torch.nan])}), "weights that are no numbers"),
    (altered(network={"inner.0.weight": torch.ones(2)}), "doesn't fit this config"),
]


@pytest.mark.parametrize(("damage", "told"), DAMAGE)
def test_resume_refuses_a_damaged_state_in_one_line(config, trained, damage, told) -> None:
    damage(trained)
    with pytest.raises(CheckpointError, match=told) as caught:
        train(config, resume=True)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_state_of_before_there_were_checksums_is_resumed_with_a_note(config, trained, caplog) -> None:
    (trained / "training.json").unlink()
    train(config, resume=True, overrides=["steps=12"])
    assert "has no checksum" in caplog.text and read_manifest(trained / "checkpoint").training["steps"] == 12


@pytest.mark.parametrize("left", ["nothing", "old"])
def test_resume_completes_a_save_that_was_cut_short(config, trained, left) -> None:
    if left == "old":
        (trained / "checkpoint").rename(trained / ".checkpoint.old")
    else:
        shutil.rmtree(trained / "checkpoint")
    (trained / ".0123abcd.tmp").mkdir()  # what a kill may leave beside
    train(config, resume=True)
    assert read_manifest(trained / "checkpoint").training["steps"] == 8
    assert not (trained / ".checkpoint.old").exists() and not (trained / ".0123abcd.tmp").exists()


def logged(run) -> list[tuple]:
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [(row["kind"], row["step"], *sorted(row.keys() - {"kind", "step"})) for row in rows]


def test_the_log_of_a_resumed_training_has_each_step_once(config, tmp_path, monkeypatch) -> None:
    changes = ["steps=24", "save_every=8", "evaluate_every=8"]
    train(config, overrides=changes)
    wanted = logged(tmp_path / "run")
    for moment, nth in (("scalars", 4), ("scalars", 5), ("saved", 1), ("sample", 1), ("sample", 2)):
        shutil.rmtree(tmp_path / "run")
        call, left = Report.__call__, [nth]

        def dying(report, kind, step, values, moment=moment, left=left, call=call) -> None:
            left[0] -= kind == moment
            if kind == moment and left[0] == 0:
                raise KeyboardInterrupt
            call(report, kind, step, values)

        monkeypatch.setattr(Report, "__call__", dying)
        with pytest.raises(KeyboardInterrupt):
            train(config, overrides=changes)
        monkeypatch.setattr(Report, "__call__", call)
        with open(tmp_path / "run" / "log.jsonl", "a") as file:
            file.write('{"kind": "sca')
        train(config, resume=True, overrides=changes)
        assert logged(tmp_path / "run") == wanted, moment


def test_one_training_writes_to_an_output_at_a_time(config, tmp_path) -> None:
    first = output.Output(tmp_path / "run")
    with first.claimed(parse(TrainConfig, {**BASE, "output": tmp_path / "run"}, "test"), resume=False):
        before = content(tmp_path)
        with pytest.raises(InputError, match="another training is writing to output"):
            train(config)
        assert content(tmp_path) == before
    train(config)


def test_a_loss_that_is_no_number_stops_the_training_and_keeps_the_last_save(config, trained) -> None:
    before = (trained / "state.pt").read_bytes()
    changed = json.loads((trained / "training.json").read_text())
    changed["config"] |= {"rate": 1e30, "clip": 1e30, "warmup": 1}
    (trained / "training.json").write_text(json.dumps(changed))
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) at step|weights are no numbers"):
        train(config, resume=True, overrides=["steps=40", "rate=1e30", "clip=1e30", "warmup=1"])
    assert (trained / "state.pt").read_bytes() == before
    assert opening.load(trained / "checkpoint", device="cpu", self_test=True)


def test_weights_that_are_no_numbers_arent_saved(tmp_path) -> None:
    made = trainer(tmp_path)
    made.recipe.network.inner[0].bias.data[0] = torch.inf
    with pytest.raises(TrainingError, match="weights are no numbers"):
        made._save()
    assert not list(tmp_path.iterdir())


def test_held_out_objects_are_read_before_training(config, tmp_path, monkeypatch) -> None:
    def missing(recipe):
        raise InputError("no file none.txt")

    monkeypatch.setattr(ToyRecipe, "held_out", missing)
    with pytest.raises(InputError, match=r"no file none\.txt"):
        train(config)
    assert not (tmp_path / "run" / "state.pt").exists()


FULL = """
import resource, signal, sys
from importlib.metadata import EntryPoint
from unembed import cli
from unembed.registry import discovery

discovery.entry_points = lambda group: (EntryPoint("toy", "unembed.testing.toy", "unembed"),)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sys.exit(cli._run(["train", sys.argv[1]]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a limit on files stands in for a full disk")
def test_a_full_disk_ends_in_one_line(config, tmp_path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(config)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert re.search(r"error: can't write .*state\.pt: File too large; the save before it is kept", done.stderr)
    assert (
        "Traceback" not in done.stderr and sorted(x.name for x in (tmp_path / "run").iterdir() if "tmp" in x.name) == []
    )


def test_train_refuses_a_config_that_is_none(tmp_path) -> None:
    with pytest.raises(ConfigError, match="can't read"):
        train(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("= 3")
    with pytest.raises(ConfigError, match="isn't valid TOML"):
        train(tmp_path / "bad.toml")


def test_the_toy_is_found_by_its_entry_point() -> None:
    assert EntryPoint("toy", "unembed.testing.toy", "unembed").load().register_inverters()[0].name == "toy"


LAUNCHED = """
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from unembed.registry import discovery, opening
from unembed.training import train

point = EntryPoint("toy", "unembed.testing.toy", "unembed")
discovery.entry_points = lambda group: (point,)
train(Path(sys.argv[1]), overrides=["steps=12", "guess_steps=4"])
"""


@pytest.mark.slow
def test_train_on_two_processes_sees_twice_the_examples(config, tmp_path) -> None:
    (tmp_path / "launched.py").write_text(LAUNCHED)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29871"]
    found = subprocess.run(
        [*command, str(tmp_path / "launched.py"), str(config)], capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 0, found.stderr[-2000:]
    training = json.loads((tmp_path / "run" / "checkpoint" / "manifest.json").read_text())["training"]
    assert (training["steps"], training["examples"]) == (12, 2 * 12 * 64)
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1


SEVERAL = """
import os, sys
import torch
from unembed.config import parse
from unembed.testing.toy import ToyRecipe
from unembed.training import TrainConfig, Trainer

torch.set_num_threads(1)
folder, options = sys.argv[1], dict(steps=12, round_steps=4, guess_steps=4, save_every=8, evaluate_every=12)
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
def test_several_processes_train_one_network_on_batches_of_their_own(tmp_path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    script = tmp_path / "several.py"
    script.write_text(SEVERAL)
    found = subprocess.run([*launch, script, tmp_path], capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr[-2000:]
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
