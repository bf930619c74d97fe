"""From the command line: reconstructions, contact sheet and measures."""

import json
import sys
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

import unembed
from unembed.cli import main

pytestmark = pytest.mark.slow


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["unembed", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    return call


def test_invert_writes_images_and_a_contact_sheet(run, trained, photos, tmp_path) -> None:
    words = ("--inverter", trained, "--out", tmp_path / "out", "--steps", 6, "--beam", 2, "--json")
    code, out, _ = run("invert", photos / "00.png", photos / "01.png", *words)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [row["input"] for row in rows] == [str(photos / "00.png"), str(photos / "01.png")]
    inverter = unembed.load(str(trained), device="cpu")
    again = inverter.embedder.similarity(
        *(inverter.embed([row[key] for row in rows]) for key in ("input", "reconstruction"))
    )
    assert np.allclose(again, [row["similarity"] for row in rows], atol=1e-4)
    sheet = np.array(Image.open(tmp_path / "out/contact-sheet.png"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "0-00.png",
        "1-01.png",
        "contact-sheet.png",
        "results.jsonl",
    ]
    last = max(row["steps"] for row in rows)
    columns = 2 + len({step for step in (1, 5) if step < last} | {last})
    assert sheet.shape[1] == 8 + 136 * columns and sheet.shape[0] == 8 + 18 + 2 * 154
    cell = sheet[26 : 26 + 128, 8 + 136 * (columns - 1) : 8 + 136 * columns - 8]
    assert np.array_equal(cell[::8, ::8], np.array(Image.open(rows[0]["reconstruction"])))


def test_invert_vectors(run, trained, photos, tmp_path) -> None:
    np.save(tmp_path / "v.npy", unembed.load(str(trained), device="cpu").embed([photos / "05.png"]))
    words = ("--inverter", trained, "--out", tmp_path / "out", "--steps", 0)
    code, out, _ = run("invert", "--vectors", tmp_path / "v.npy", *words)
    assert code == 0 and "out/0-vector.png" in out and (tmp_path / "out/contact-sheet.png").is_file()


def test_invert_wants_a_folder(run, trained, photos, tmp_path) -> None:
    code, _, err = run("invert", photos / "00.png", "--inverter", trained)
    assert code == 2 and "--out DIR" in err
    (tmp_path / "file").write_text("")
    code, _, err = run("invert", photos / "00.png", "--inverter", trained, "--out", tmp_path / "file")
    assert code == 2 and "can't be a folder" in err


def test_evaluate_a_folder(run, trained, photos) -> None:
    words = ("--data", photos, "--inverter", trained, "--samples", 12, "--beam", 2, "--json")
    found = []
    for steps in (0, 1, 4):
        code, out, _ = run("evaluate", *words, "--steps", steps)
        found.append(json.loads(out))
        assert code == 0 and found[-1]["n"] == 12
    assert {"ssim", "psnr", "retrieval_top1", "similarity"} <= set(found[0]["ci"])
    assert all(before["similarity"] < after["similarity"] for before, after in pairwise(found))


def test_evaluate_refuses_what_holds_no_images(run, trained, tmp_path) -> None:
    code, _, err = run("evaluate", "--data", tmp_path, "--inverter", trained)
    assert code == 2 and "holds no images" in err
    (tmp_path / "t.png").write_text("text")
    code, _, err = run("evaluate", "--data", tmp_path, "--inverter", trained)
    assert code == 2 and "t.png) isn't an image" in err
