"""The programs that make and measure the bundled weights, at toy size; the configs name what the recipe knows."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from unembed.config import parse, read_toml
from unembed.training import TrainConfig
from unembed_image.codec import ImageCodec
from unembed_image.embedders.base import ImageEmbedder
from unembed_image.embedders.models import clip
from unembed_image.methods.flow.recipe import ImageRecipeConfig

from .conftest import pictures

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("train_*.toml")), ids=lambda path: path.name)
def test_configs_are_what_the_recipe_takes(path) -> None:
    config = parse(TrainConfig, read_toml(path), path.name)
    if config.method == "flow":
        found = parse(ImageRecipeConfig, {**config.recipe, "device": "cpu", "seed": 0}, path.name)
        assert found.independent != found.embedder


@pytest.fixture
def data(tmp_path) -> Path:
    """Photographs of two classes, discs and bars, as the programs read them."""
    rows = []
    for number, picture in enumerate(pictures(32, size=64)):
        Image.fromarray(picture).save(file := tmp_path / "picture.png")
        rows.append({"image": file.read_bytes(), "label": 7 * (number % 2), "name": ("bar", "disc")[number % 2]})
    for name, part in (("train-0", rows[:24]), ("validation", rows[24:])):
        pq.write_table(pa.Table.from_pylist(part), tmp_path / f"{name}.parquet")
    return tmp_path


@pytest.mark.slow
def test_a_small_clip_is_trained_killed_resumed_and_written(data, tmp_path, forked) -> None:
    words = ["--data", data, "--out", tmp_path / "clip", "--pixels", 64, "--groups", 1, "--device", "cpu"]
    command = [EXAMPLES / "train_clip_tiny.py", *words, "--seconds", 600, "--save-seconds", 0]
    state = tmp_path / "clip.state.pt"
    running = forked(*command)
    while not state.exists() and not running.done():
        time.sleep(0.1)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    step = torch.load(state, weights_only=True)["step"]
    done = forked(*command, "--resume", "--steps", step + 2).wait()
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert f"resumed at step {step}" in done.stderr and found["steps"] == step + 2
    assert found["n"] == 8 and found["classes"] == 2 and found["bytes"] < 25e6 and 0 <= found["top1"] <= 1
    assert all(file.stat().st_size < 16e6 for file in (tmp_path / "clip").iterdir())
    box = clip(str(tmp_path / "clip"), torch.device("cpu"))
    assert isinstance(box, ImageEmbedder) and box.dimension == 512
    assert torch.isfinite(box.embed(ImageCodec(64).encode(pictures(2)))).all()


@pytest.mark.slow
def test_an_inverter_is_measured_at_several_steps_and_drawn(trained, photos, tmp_path, forked) -> None:
    words = ["--inverter", trained, "--data", photos, "--samples", 10, "--steps", 0, 1, 2, "--beam", 2]
    words += ["--at-once", 4, "--device", "cpu", "--grid", tmp_path / "grid.png"]
    done = forked(EXAMPLES / "measure_images.py", *words).wait()
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["steps"] for row in rows] == [0, 1, 2] and all(row["n"] == 10 for row in rows)
    assert rows[0]["similarity"] < rows[1]["similarity"] <= rows[2]["similarity"]
    assert {"retrieval_top1", "retrieval_top10", "ssim", "similarity"} <= set(rows[0]["ci"])
    grid = np.array(Image.open(tmp_path / "grid.png"))
    assert grid.shape == (8 + 18 + 8 * (64 + 18 + 8), 2 * (8 + 3 * 72), 3)  # blocks of 8 and 2; step 2 isn't drawn
