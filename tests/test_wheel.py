"""The built wheel works outside the tree and finds its own plugins."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from unembed_text.plugin import WEIGHTS

ROOT = Path(__file__).parents[1]
IMAGES = ["clip-tiny", "effnet-features", "effnet-probs"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_nothing_else(wheel) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packages = {"unembed", "unembed_audit", "unembed_image", "unembed_stores", "unembed_text"}
    assert {name.partition("/")[0].partition("-")[0] for name in names} == packages
    assert "unembed/testing/checks/embedder.py" in names
    assert not [name for name in names if "test_" in name and not name.endswith(".jinja")]
    assert "unembed/template/project/unembed_{{ name }}/plugin.py.jinja" in names
    if (WEIGHTS / "minilm").is_dir():
        assert "unembed_text/weights/minilm/manifest.json" in names
    assert "unembed_image/weights/embedders/clip-tiny/open_clip_config.json" in names
    assert {f"unembed_image/weights/{name}/manifest.json" for name in IMAGES} <= set(names)


@pytest.mark.slow
def test_the_wheel_installed_elsewhere_finds_its_plugins(wheel, tmp_path) -> None:
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    run = [sys.executable, "-c", "from unembed.cli import main; main()", "plugins", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    out = subprocess.run(run, check=True, capture_output=True, text=True, cwd=tmp_path, env=environment).stdout
    (text,) = (row for row in map(json.loads, out.splitlines()) if row["name"] == "text")
    assert text["error"] is None and text["inverters"][0]["name"] == "minilm"
    (image,) = (row for row in map(json.loads, out.splitlines()) if row["name"] == "image")
    assert image["error"] is None and [found["name"] for found in image["inverters"]] == IMAGES
    where = [sys.executable, "-c", "import unembed, unembed_text.plugin as p; print(unembed.__file__, p.__file__)"]
    places = subprocess.run(where, check=True, capture_output=True, text=True, cwd=tmp_path, env=environment).stdout
    assert all(place.startswith(str(site)) for place in places.split())
