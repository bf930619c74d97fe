"""Where a training writes: nothing foreign is touched, damage and changed settings are refused, a kill is made good."""

import json
import re
import shutil
import sys

import pytest
import torch

from unembed.checkpoints.manifest import read_manifest
from unembed.config import parse
from unembed.errors import CheckpointError, InputError, TrainingError
from unembed.registry import opening
from unembed.training import TrainConfig, output, train
from unembed.training.report import Report

from .conftest import BASE


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
def trained(config, finished, tmp_path):
    """The output of a finished run, that of `config`."""
    return shutil.copytree(finished, tmp_path / "run")


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
    (altered(step=-5), "a negative step"),
    (altered(network={"inner.0.weight": torch.tensor([torch.nan])}), "weights that aren't finite"),
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
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) at step|weights aren't finite"):
        train(config, resume=True, overrides=["steps=40", "rate=1e30", "clip=1e30", "warmup=1"])
    assert (trained / "state.pt").read_bytes() == before
    assert opening.load(trained / "checkpoint", device="cpu", self_test=True)


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
def test_a_full_disk_ends_in_one_line(config, tmp_path, forking) -> None:
    done = forking.run("-c", FULL, config)
    assert done.returncode == 1
    assert re.search(r"error: can't write .*state\.pt: File too large; the save before it is kept", done.stderr)
    assert (
        "Traceback" not in done.stderr and sorted(x.name for x in (tmp_path / "run").iterdir() if "tmp" in x.name) == []
    )
