"""The command line on the toy: output, streams, exit codes, and every bad input in one line."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from unembed.checkpoints.manifest import read_manifest
from unembed.config import parse
from unembed.inversion.inverter import Inverter
from unembed.testing.toy import ToyRecipe, toy_inverter, words
from unembed.training import TrainConfig, Trainer

ROW = {"reconstruction", "similarity", "confidence", "exact", "steps", "queries", "stopped", "precision", "verdict"}


def test_invert_texts_as_json(run) -> None:
    code, out, _ = run("invert", "cafe", "bead", "--inverter", "toy", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [set(row) for row in rows] == [ROW | {"input"}] * 2
    assert [row["input"] for row in rows] == ["cafe", "bead"]
    for row in rows:
        assert row["exact"] == (row["reconstruction"] == row["input"])


def test_invert_for_people(run) -> None:
    code, out, _ = run("invert", "cafe", "--inverter", "toy")
    assert code == 0 and out.startswith("cafe\n  ") and "similarity" in out and "queries" in out


def test_invert_vectors_as_json(run, vectors) -> None:
    code, out, _ = run("invert", "--vectors", vectors, "--inverter", "toy", "--json", "--steps", 8)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(set(row), row["index"], row["exact"]) for row in rows] == [
        (ROW | {"index"}, 0, None),
        (ROW | {"index"}, 1, None),
    ]


@pytest.fixture(scope="module")
def once_trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    config = {"modality": "toy", "output": folder, "steps": 300, "round_steps": 20, "guess_steps": 100}
    Trainer(parse(TrainConfig, config, "test"), ToyRecipe({"device": "cpu", "seed": 0})).run()
    return folder / "checkpoint"


@pytest.fixture
def trained(once_trained, tmp_path):
    """A toy checkpoint that finds some words and not others, and a file of words."""
    (tmp_path / "words.txt").write_text("\n".join(words(200, seed=3)))
    return shutil.copytree(once_trained, tmp_path / "checkpoint")


def test_calibrate_writes_a_confidence_that_invert_prints(run, trained) -> None:
    assert read_manifest(trained).calibration is None
    code, out, _ = run("calibrate", trained, "--data", trained.parent / "words.txt", "--samples", 150)
    found = read_manifest(trained).calibration
    assert code == 0 and found.n == 150 and out.startswith("calibrated on 150 results")
    code, out, _ = run("invert", "cafe", "--inverter", trained, "--json", "--steps", 1)
    row = json.loads(out)
    assert row["confidence"] == pytest.approx(found.confidence(torch.tensor([row["similarity"]])).item())
    code, out, _ = run("invert", "cafe", "--inverter", trained, "--steps", 1)
    said = float(out.split("exact with probability ")[1].split(",")[0])
    assert said < 1 and row["confidence"] - 0.001 < said <= row["confidence"]


def test_calibrate_learns_words_that_invert_prints(run, trained) -> None:
    arguments = ("--data", trained.parent / "words.txt", "--samples", 60, "--noise", 0.05, "--effort", "low")
    code, out, _ = run("calibrate", trained, *arguments)
    sure = read_manifest(trained).calibration.words
    assert code == 0 and f"words: fitted to {sure.n} of them" in out
    code, out, _ = run("invert", "cafe", "--inverter", trained, "--json", "--steps", 1, "--words")
    row = json.loads(out)
    assert "".join(word for word, _ in row["words"]) == row["reconstruction"]
    assert all(0 < chance < 1 for _, chance in row["words"])
    code, out, _ = run("invert", "cafe", "--inverter", trained, "--steps", 1, "--words")
    assert code == 0 and f"{row['words'][0][0]} {int(1000 * row['words'][0][1]) / 1000:.3f}, " in out
    assert "words" not in json.loads(run("invert", "cafe", "--inverter", trained, "--json", "--steps", 1)[1])


def test_calibrate_without_an_exact_result_says_so(run, trained) -> None:
    arguments = ("--data", trained.parent / "words.txt", "--samples", 2, "--max-tokens", 8, "--effort", "low")
    code, _, err = run("calibrate", trained, *arguments)
    assert code == 2 and "a calibration needs" in err and "\n" not in err.strip()


def test_invert_out_writes_the_lines_to_a_file(run, vectors, tmp_path) -> None:
    code, out, err = run("invert", "--vectors", vectors, "--inverter", "toy", "--out", tmp_path / "r.jsonl")
    assert (code, out) == (0, "")
    assert "2 reconstructions" in err
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.jsonl", "v.npy"]


def test_a_dry_run_leaves_the_output_file_alone(run, vectors, tmp_path) -> None:
    (tmp_path / "r.jsonl").write_text("kept")
    for arguments in (("cafe",), ("--vectors", vectors)):
        code, out, _ = run("invert", *arguments, "--inverter", "toy", "--dry-run", "--out", tmp_path / "r.jsonl")
        assert code == 0 and "at most" in out and (tmp_path / "r.jsonl").read_text() == "kept"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.jsonl", "v.npy"]


def test_rows_are_written_as_searches_end(run, monkeypatch) -> None:
    monkeypatch.setattr("unembed.inversion.stream.CPU_AT_ONCE", 2)
    invert, found = Inverter.invert, []

    def third_fails(self, vectors, **options):
        if len(found) == 2:
            raise ZeroDivisionError
        found.append(invert(self, vectors, **options))
        return found[-1]

    monkeypatch.setattr(Inverter, "invert", third_fails)
    code, out, _ = run("invert", *words(6), "--inverter", "toy", "--json", "--steps", 1)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 1 and [row["input"] for row in rows] == words(6)[:4]
    assert [row["exact"] for row in rows] == [row["input"] == row["reconstruction"] for row in rows]


def test_an_effort_of_the_inverters_own_has_a_name(run, monkeypatch) -> None:
    code, out, _ = run("invert", "cafe", "--inverter", "toy", "--effort", "max", "--json")
    assert code == 0 and json.loads(out)["reconstruction"] == "cafe"
    code, _, err = run("invert", "cafe", "--inverter", "toy", "--effort", "heroic")
    assert code == 2 and "no effort 'heroic'; the efforts are low, medium, high, max" in err


def test_invert_steps_and_budget_are_kept(run) -> None:
    _, out, _ = run("invert", *words(4), "--inverter", "toy", "--json", "--steps", 0, "--beam", 2)
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 4 and all(row["steps"] == 0 and row["queries"] <= 2 for row in rows)
    _, out, _ = run("invert", *words(4), "--inverter", "toy", "--json", "--max-queries", 3)
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 4 and all(row["queries"] <= 3 for row in rows)


def test_invert_says_what_the_embedder_does_not_see(run) -> None:
    code, out, err = run("invert", "abcdefghabc", "--inverter", "toy", "--json")
    assert code == 0 and "11 tokens" in err and "first 8" in err
    json.loads(out)


def test_evaluate_as_json(run, tmp_path) -> None:
    (tmp_path / "p.txt").write_text("\n".join(words(40)))
    code, out, _ = run(
        "evaluate", "--data", tmp_path / "p.txt", "--inverter", "toy", "--json", "--samples", 9, "--max-tokens", 3
    )
    found = json.loads(out)
    assert code == 0 and len(out.splitlines()) == 1
    assert found["n"] == 9
    assert {"exact_match", "similarity", "queries_per_item", "seconds", "ci", "letter_accuracy"} < set(found)
    assert set(found["ci"]) == {"exact_match", "similarity", "queries_per_item", "letter_accuracy"}


def test_evaluate_for_people(run, tmp_path) -> None:
    (tmp_path / "p.txt").write_text("\n".join(words(10)))
    code, out, _ = run("evaluate", "--data", tmp_path / "p.txt", "--inverter", "toy", "--steps", 1)
    assert code == 0 and "10 inputs" in out and "exact_match" in out and "interval" in out


def test_train_then_invert_with_the_checkpoint(run, tmp_path) -> None:
    (tmp_path / "c.toml").write_text(f'modality = "toy"\noutput = "{tmp_path}/run"\nsteps = 500\n')
    assert run("train", tmp_path / "c.toml", "--set", "steps=4", "--set", "round_steps=2")[0] == 0
    assert run("train", tmp_path / "c.toml", "--set", "steps=6", "--set", "round_steps=2", "--resume")[0] == 0
    manifest = json.loads((tmp_path / "run/checkpoint/manifest.json").read_text())
    assert manifest["training"]["steps"] == 6
    assert run("invert", "cafe", "--inverter", tmp_path / "run/checkpoint")[0] == 0


def test_plugins_lists_what_is_installed(run) -> None:
    code, out, _ = run("plugins", "--json")
    rows = {row["name"]: row for row in map(json.loads, out.splitlines())}
    assert code == 0
    assert rows["text"]["package"] == "unembed" and rows["text"]["error"] is None
    assert [spec["name"] for spec in rows["toy"]["inverters"]] == ["toy"]
    code, out, _ = run("plugins")
    assert "minilm" in out and "toy" in out


def test_plugins_marks_what_isnt_installed(run, monkeypatch) -> None:
    from unembed.registry import lazy

    there = lazy._installed
    monkeypatch.setattr(lazy, "_installed", lambda name: name not in ("onnxruntime", "transformers") and there(name))
    rows = {row["name"]: row for row in map(json.loads, run("plugins", "--json")[1].splitlines())}
    missing = {spec["name"]: spec["missing"] for kind in ("inverters", "embedders") for spec in rows["text"][kind]}
    assert missing["minilm"] == missing["st"] == "texts need an extra: pip install 'unembed[text]'"
    assert missing["onnx"] == "ONNX graphs need an extra: pip install 'unembed[onnx]'"
    assert rows["toy"]["inverters"][0]["missing"] is None and missing["openai"] is None
    lines = [line.split() for line in run("plugins")[1].splitlines()]
    assert next(line for line in lines if line[1:2] == ["hf"])[-1] == "'unembed[text]']"
    assert next(line for line in lines if line[1:2] == ["toy"])[-1] != "'unembed[text]']"


def test_plugins_imports_nothing_heavy() -> None:
    code = "import sys; from unembed import cli; cli._run(['plugins']); print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "False"


def bad(*arguments, code=2, says):
    return pytest.param(arguments, code, says, id=says)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        bad("invert", says="give either texts"),
        bad("invert", "cafe", "--vectors", "{dir}/v.npy", says="give either texts"),
        bad("invert", "--vectors", "{dir}/none.npy", says="no file"),
        bad("invert", "--vectors", "{dir}", says="has no column of vectors; it has text"),
        bad("invert", "--vectors", "{dir}/empty.npy", says="is empty"),
        bad("invert", "--vectors", "{dir}/v.csv", says="2 wide; inverter 'toy'"),
        bad("invert", "--vectors", "{dir}/v.npz", "--column", "x", says="no array 'x'"),
        bad(
            "invert",
            "--vectors",
            "{dir}/wide.npy",
            says="7 wide; inverter 'toy' takes vectors that are 24 wide: were they cut",
        ),
        bad("invert", "--strict", "--vectors", "{dir}/nan.npy", says="row 1 holds NaN or infinity"),
        bad("invert", "--strict", "--vectors", "{dir}/inf.npy", says="row 0 holds NaN or infinity"),
        bad("invert", "--strict", "--vectors", "{dir}/zero.npy", says="row 1 holds only zeros"),
        bad("invert", "--vectors", "{dir}/object.npy", says="can't be read"),
        bad("invert", "cafe", "--column", "x", says="--column belongs to --vectors"),
        bad(
            "invert",
            "cafe",
            "--inverter",
            "nobody",
            says="no inverter 'nobody'; known: clip-tiny, effnet-features, effnet-probs, gtr-base, gtr-base-st, "
            "minilm, text-embedding-ada-002, toy",
        ),
        bad("invert", "cafe", "--inverter", "{dir}", code=2, says="no readable manifest.json"),
        bad("invert", "cafe", "--out", "{dir}/no/r.jsonl", says="can't write"),
        bad("invert", "cafe", "--device", "warp", says="device 'warp'"),
        bad("invert", "", says="a word over"),
        bad("invert", "cafe", "--steps", "-1", says="'--steps'"),
        bad("invert", "cafe", "--beam", "0", says="'--beam'"),
        bad("invert", "cafe", "--steps", "many", says="'many'"),
        bad("invert", "cafe", "--nonsense", says="--nonsense"),
        bad("evaluate", says="--data"),
        bad("evaluate", "--data", "{dir}/none.txt", says="no file"),
        bad("evaluate", "--data", "{dir}/empty.txt", says="no passages"),
        bad("evaluate", "--data", "{dir}/p.parquet", "--column", "x", says="no column 'x'; it has text"),
        bad("evaluate", "--data", "{dir}/p.csv", says="not '.csv'"),
        bad("evaluate", "--data", "{dir}/p.parquet", "--max-tokens", "8", says="none of the 1 inputs has 8 elements"),
        bad("train", "{dir}/none.toml", says="can't read the config"),
        bad("train", "{dir}/bad.toml", says="isn't valid TOML"),
        bad("train", "{dir}/wrong.toml", says="stepz"),
        bad("frobnicate", says="frobnicate"),
    ],
)
def test_a_bad_input_is_one_line_and_its_exit_code(run, tmp_path, arguments, code, says) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    good = toy_inverter().embed(["cafe", "bead"]).numpy()
    files = {"v": good, "wide": good[:, :7], "zero": good * [[1.0], [0.0]]}
    files |= {"nan": np.where([[False], [True]], np.nan, good), "inf": np.where([[True], [False]], np.inf, good)}
    for name, array in files.items():
        np.save(tmp_path / f"{name}.npy", array)
    np.save(tmp_path / "object.npy", np.array([None]), allow_pickle=True)
    np.savez(tmp_path / "v.npz", a=good)
    pq.write_table(pa.table({"text": ["cafe"]}), tmp_path / "p.parquet")
    for name, text in {
        "empty.npy": "", "empty.txt": "", "v.csv": "1,2", "p.csv": "a", "bad.toml": "=",
        "wrong.toml": f'modality = "toy"\noutput = "{tmp_path}/r"\nstepz = 1\n',
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    words = [word.format(dir=tmp_path) for word in arguments]
    if words[0] in ("invert", "evaluate") and "--inverter" not in words:
        words += ["--inverter", "toy"]
    found, out, err = run(*words)
    assert (found, out) == (code, "")
    assert err.startswith("error: ") and len(err.splitlines()) == 1
    assert says in err


def test_an_unexpected_failure_is_one_line_too(run, monkeypatch) -> None:
    def fail(*args, **kwargs):
        raise ZeroDivisionError("oh\nno")

    monkeypatch.setattr("unembed.inversion.inverter.Inverter.invert", fail)
    code, out, err = run("invert", "cafe", "--inverter", "toy")
    assert (code, out) == (1, "")
    assert err.splitlines() == ["error: ZeroDivisionError: oh no (run again with --debug for the traceback)"]
    with pytest.raises(ZeroDivisionError):
        run("invert", "cafe", "--inverter", "toy", "--debug")


def test_an_interrupt_is_quiet(run, monkeypatch) -> None:
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("unembed.inversion.inverter.Inverter.invert", stop)
    code, out, err = run("invert", "cafe", "--inverter", "toy")
    assert (code, out, err.strip()) == (130, "", "error: interrupted")


def test_a_failed_run_leaves_no_output_file(run, vectors, tmp_path) -> None:
    assert run("invert", "--vectors", vectors, "--inverter", "nobody", "--out", tmp_path / "r.jsonl")[0] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["v.npy"]


def test_help_is_quick_and_loads_no_torch() -> None:
    code = "import sys, unembed.cli as c; c._run(['--help']); print('torch' in sys.modules)"
    before = os.times()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    after = os.times()
    assert out.endswith("False\n") and "invert" in out
    assert after.children_user - before.children_user < 3  # seconds of work: torch alone takes longer


def test_a_reader_who_leaves_causes_no_traceback() -> None:
    command = f"{sys.executable} -c 'from unembed.cli import main; main()' plugins --json | true"
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in found.stderr


def test_check_prints_a_table_and_fails_with_the_plugin(run) -> None:
    code, out, _ = run("check", "toy")
    assert code == 1
    assert "ok      embedder_repeats_itself" in out
    assert "FAILED  plugin_loads_nothing_heavy" in out and "torch" in out and "The rule: " in out
    assert out.splitlines()[-1].endswith(" passed, 1 failed")


def test_check_in_json_is_an_object_a_check(run) -> None:
    _, out, _ = run("check", "toy", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert {"subject": "inverter toy", "check": "embedder_repeats_itself", "status": "passed", "detail": ""} in rows


def test_check_of_an_unknown_plugin_lists_the_known(run) -> None:
    code, _, err = run("check", "nothing")
    assert code == 2 and "no plugin 'nothing' is installed; known: audit, defend, " in err and ", text, toy" in err


def test_a_file_of_vectors_given_as_a_text_is_asked_about(run, vectors) -> None:
    code, _, told = run("invert", vectors, "--inverter", "toy")
    assert code == 2 and f"did you mean --vectors {vectors}?" in told


def test_calibrate_measures_a_floor_that_invert_tells_strange_vectors_by(run, trained, tmp_path) -> None:
    words_file = trained.parent / "words.txt"
    assert run("calibrate", trained, "--data", words_file, "--floor-only")[0] == 2  # there is nothing to keep yet
    assert run("calibrate", trained, "--data", words_file, "--samples", 100)[0] == 0
    before = read_manifest(trained).calibration
    code, out, _ = run(
        "calibrate", trained, "--data", words_file, "--data", words_file, "--samples", 20, "--floor-only"
    )
    after = read_manifest(trained).calibration
    assert code == 0 and f"similarity below {after.floor:.3f}: unlike" in out
    assert after.model_copy(update={"floor": None}) == before.model_copy(update={"floor": None})
    np.save(tmp_path / "strange.npy", -toy_inverter().embed(["cafe", "bead", "abc"]).numpy())
    code, out, err = run(
        "invert", "--vectors", tmp_path / "strange.npy", "--inverter", trained, "--effort", "low", "--json"
    )
    rows = [json.loads(line) for line in out.splitlines()]
    assert (
        code == 0
        and all(row["verdict"] == "unlike" for row in rows)
        and err.count("unlike") + err.count("none of") == 1
    )
