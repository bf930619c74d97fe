"""A whole study of the toy: rows, figures, page, going on after a stop."""

import json
import math
import re

import pytest
import torch

from unembed.errors import InputError
from unembed.testing.toy import toy_inverter, words
from unembed_defend.study.studying import Plan, study
from unembed_defend.study.texts import passages
from unembed_defend.study.words import answers, limits, table
from unembed_defend.study.writing import page

PLAN = Plan((3, 5), (24, 12, 6), "words.txt", effort="low", steps=2, beam=2, edits=60)
REDUCTIONS, TEXTS = 15, 4


def reading(inverter=None):
    """The toy with a part that says how many nats are left: as many as the letters that its target is off by."""
    inverter = inverter or toy_inverter()

    def surprisal(target, signals):
        near = torch.nn.functional.cosine_similarity(target, inverter.embedder.embed(signals))
        return 10 * (1 - near)

    inverter._more_parts["surprisal"] = surprisal
    return inverter


def run(folder, plan=PLAN, inverter=None, **more):
    inverter = inverter or reading()
    given = passages(inverter, words(900, seed=5), samples=TEXTS, others=200, lengths=plan.lengths)
    return study(inverter, given, folder, plan, **more)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "out"
    return run(folder), folder


def of(report, reduction, length):
    return next(cell for cell in report["cells"] if (cell["reduction"], cell["length"]) == (reduction, length))


def test_every_cell_has_its_figures(done) -> None:
    report, _ = done
    assert report["complete"] and len(report["cells"]) == 2 * REDUCTIONS
    for cell in report["cells"]:
        found, edits = cell["recovery"], cell["edits"]
        assert found["n"] == TEXTS and 0 <= found["exact_match"] <= 1 and found["nats"] is not None
        assert found["elsewhere"] <= found["wrong"] == round(TEXTS * (1 - found["exact_match"]))
        assert edits["n"] == TEXTS and 10 < edits["edits"] <= 60 and 0 <= edits["nearest"] <= 1
    clean, narrow = of(report, "clean", 5), of(report, "pca:6+binary", 5)
    assert clean["mapped"] == pytest.approx(1, abs=1e-4) and narrow["mapped"] < 0.95
    assert clean["recovery"]["nats"] == pytest.approx(0, abs=1e-3) and narrow["recovery"]["nats"] > 0.5
    assert clean["recovery"]["letter_accuracy"] > narrow["recovery"]["letter_accuracy"]
    assert clean["edits"]["nearest"] == 1 and clean["edits"]["margin"] > narrow["edits"]["margin"] >= -1e-6
    assert of(report, "int8", 5)["recovery"]["exact_match"] == clean["recovery"]["exact_match"]


def test_a_text_that_is_found_has_a_similarity_of_1_in_the_reduced_space(done) -> None:
    _, folder = done
    rows = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    exact = [row for row in rows if row["part"] == "searched" and row["exact"]]
    narrow = [row for row in exact if ":" in row["reduction"]]
    assert len(narrow) > 3 and all(row["similarity"] > 1 - 1e-4 for row in narrow)


def test_the_files_are_there_and_hold_the_same(done) -> None:
    report, folder = done
    names = {path.name for path in folder.iterdir() if not path.name.startswith("embedding")}
    assert names == {"records.jsonl", "settings.json", "report.json", "report.html", "figure.svg", "figure.png"}
    assert json.loads((folder / "report.json").read_text()) == json.loads(json.dumps(report))
    assert (folder / "figure.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (folder / "figure.svg").read_text().count("<svg") == 1
    assert not [path for path in folder.iterdir() if path.stat().st_mode & 0o077]
    text = (folder / "report.html").read_text()
    head, rows = table(report)
    assert len(rows) == len(report["cells"]) and all(len(row) == len(head) for row in rows)
    for bad in ("<script", "<link", "<img", "@import", "javascript:"):
        assert bad not in text
    assert not re.findall(r'(?:src|href|xlink:href)="(?!#)[^"]*"', text)


def test_the_question_is_answered_with_what_is_known_alone(done) -> None:
    report, _ = done
    said = " ".join(answers(report))
    for part in (
        "Length,",
        "PCA leaves",
        "random projection leaves",
        "int8:",
        "1 bit:",
        "Nats",
        "Information",
        "Search",
    ):
        assert part in said, part
    assert "Prediction of exact" in said and "Chance alone" in said
    empty = {**report, "fits": [], "cells": [{**cell, "recovery": None, "edits": None} for cell in report["cells"]]}
    assert answers(empty) == [] and "<svg" not in page(empty, None)
    assert any("confounded" in line for line in limits(report))


def test_a_study_that_was_stopped_goes_on_with_the_same_figures(done, tmp_path, monkeypatch) -> None:
    whole, _ = done
    inverter = reading()
    stopped, real = [], type(inverter).invert

    def stopping(self, vectors, **options):
        stopped.append(len(vectors))
        if len(stopped) == 4:
            raise KeyboardInterrupt
        return real(self, vectors, **options)

    monkeypatch.setattr(type(inverter), "invert", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", inverter=inverter)
    report = run(tmp_path / "out", inverter=inverter)
    assert len(stopped) == 1 + REDUCTIONS, "what was known was searched again"
    rows = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    keys = [(row["part"], row["reduction"], row["length"], row["text"]) for row in rows]
    assert len(set(keys)) == len(keys) == 2 * 2 * REDUCTIONS * TEXTS
    for cell, other in zip(report["cells"], whole["cells"], strict=True):
        assert cell == other


def test_minutes_end_a_part_with_a_page_of_what_is_known(tmp_path, monkeypatch) -> None:
    first = run(tmp_path / "out", Plan(**{**vars(PLAN), "minutes": 1e-9}))
    assert not first["complete"] and not [cell for cell in first["cells"] if cell["recovery"]]
    assert "Give the same command again" in (tmp_path / "out" / "report.html").read_text()
    assert not (tmp_path / "out" / "figure.svg").exists()
    assert run(tmp_path / "out")["complete"]


def test_lengths_that_the_inverter_doesnt_write_have_near_edits_alone(tmp_path) -> None:
    inverter = reading()
    inverter.longest = 4
    report = run(tmp_path / "out", inverter=inverter)
    assert report["complete"] and report["conditions"]["unwritten"] == [5]
    assert of(report, "clean", 3)["recovery"] and of(report, "clean", 5)["recovery"] is None
    assert of(report, "clean", 5)["edits"]["n"] == TEXTS
    assert "at 5 nothing was searched for" in limits(report)[0]


def test_an_inverter_that_says_no_nats_is_studied_without(tmp_path) -> None:
    report = run(tmp_path / "out", inverter=toy_inverter())
    assert {cell["recovery"]["nats"] for cell in report["cells"]} == {None}
    assert {fit["model"] for fit in report["fits"]} == {"shape"}
    assert not [line for line in answers(report) if line.startswith("Nats")]
    assert not math.isnan(report["fits"][0]["chance"])


def test_another_plan_and_too_few_texts_are_refused(tmp_path) -> None:
    run(tmp_path / "out", Plan(**{**vars(PLAN), "minutes": 1e-9}))
    with pytest.raises(InputError, match=r"holds a study with other settings.*edits was 60 and is 70"):
        run(tmp_path / "out", Plan(**{**vars(PLAN), "edits": 70}))
    inverter = toy_inverter()
    few = passages(inverter, words(60, seed=5), samples=2, others=20, lengths=(3, 5))
    with pytest.raises(InputError, match="need 48 other texts"):
        study(inverter, few, tmp_path / "few", PLAN)
