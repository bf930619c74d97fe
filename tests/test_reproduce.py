"""The free test texts and the figures measured on them: what `make reproduce` compares."""

import json
import re
import sys
from pathlib import Path

import pytest

import unembed

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "reproduce"
MOST = 300_000  # bytes of texts


@pytest.fixture(scope="module")
def measure():
    sys.path.insert(0, str(FOLDER))
    try:
        import measure

        yield measure
    finally:
        sys.path.remove(str(FOLDER))


def test_the_texts_are_many_small_and_all_different(measure) -> None:
    texts = [text for kind in measure.KINDS for text in measure.texts(kind)]
    assert len(texts) == len(set(texts)) == 75 * len(measure.KINDS) == 600
    assert all(text.strip() == text and text for text in texts)
    files = list((FOLDER / "texts").iterdir())
    assert {file.stem for file in files} == set(measure.KINDS) and sum(file.stat().st_size for file in files) <= MOST


def test_every_kind_has_its_source_and_terms(measure) -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `texts/(.+?)\.txt` \|(.+)\|(.+)\|$", page, flags=re.MULTILINE)
    assert {kind for kind, *_ in rows} == set(measure.KINDS) and all(terms.strip() for *_, terms in rows)


def test_the_committed_figures_are_whole(measure) -> None:
    if not measure.FIGURES.exists():
        pytest.skip("no figures are committed: make reproduce with --write measures them")
    efforts = json.loads(measure.FIGURES.read_text(encoding="utf-8"))
    assert "low" in efforts
    for figures in efforts.values():
        assert {"device", "unembed"} <= figures.pop("measured").keys() and "16" in figures
        for rows in figures.values():
            assert set(rows) == {*measure.KINDS, measure.ALL}
            counts = [rows[kind]["n"] for kind in measure.KINDS]
            assert rows[measure.ALL]["n"] == sum(counts) and min(counts) >= 8
            for row in rows.values():
                value, low, high = row["exact"]
                assert measure.share(round(value * row["n"]), row["n"]) == pytest.approx([value, low, high])
            for name in ("exact", "bleu", "token_f1"):
                value, low, high = rows[measure.ALL][name]
                assert low <= value <= high


def test_a_figure_agrees_where_the_intervals_meet(measure) -> None:
    assert measure.agree(measure.share(8, 8), measure.share(60, 64))
    assert not measure.agree(measure.share(8, 8), measure.share(10, 64))
    assert measure.agree([50.0], [10.0, 9.0, 11.0])  # without an interval there is nothing to say


def test_a_row_outside_is_said_and_counted(measure, capsys) -> None:
    row = {"n": 8, "exact": measure.share(8, 8), "bleu": [90.0], "token_f1": [0.9]}
    far = {**row, "exact": measure.share(0, 64), "n": 64}
    rows = {"e-mail": row, "records": row, measure.ALL: {**row, "queries": 50.0}}
    assert measure.report(16, rows, {"e-mail": row, "records": far}) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith(("e-mail", "records"))] == ["within", "OUTSIDE"]
    assert measure.report(16, rows, {}) == 0


@pytest.mark.slow
def test_figures_are_written_met_again_and_missed(measure, monkeypatch, tmp_path, capsys) -> None:
    path = tmp_path / "figures.json"
    given = [
        "--samples",
        "2",
        "--tokens",
        "8",
        "--kinds",
        "support",
        "e-mail",
        "--device",
        "cpu",
        "--figures",
        str(path),
    ]

    inverter = unembed.load("minilm", device="cpu")
    monkeypatch.setattr(measure.unembed, "load", lambda name, device: inverter)
    measured, found = measure.measured, []
    monkeypatch.setattr(measure, "measured", lambda *given: found.append(measured(*given)) or found[-1])

    def run(*more: str) -> int:
        monkeypatch.setattr(sys, "argv", ["measure.py", *given, *more])
        return measure.main()

    assert run("--write") == 0
    assert run() == 0 and "Every figure lies within." in capsys.readouterr().out
    monkeypatch.setattr(measure, "measured", lambda *given: found[-1])  # another table is what counts
    figures = json.loads(path.read_text(encoding="utf-8"))
    figures["low"]["8"]["support"]["exact"] = [-1.0, -1.0, -1.0]
    path.write_text(json.dumps(figures), encoding="utf-8")
    assert run() == 1 and "1 rows lie outside" in capsys.readouterr().out
