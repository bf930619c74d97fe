"""The distributions of a release: small, from one tree, and working in an environment that never saw that tree."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

import pytest

import unembed

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WEIGHTS = PROJECT["tool"]["unembed"]["weights"]
OFFLINE = ("-m", "pip", "install", "--quiet", "--no-index", "--disable-pip-version-check", "--find-links")


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """All distributions, built by the one command."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, ROOT / "tools/dist.py", folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def stranger(tmp_path_factory, environment_of):
    """An environment that has everybody's libraries and nothing of this tree."""
    libraries = tmp_path_factory.mktemp("libraries")
    for site in (Path(path) for path in sys.path if Path(path).name == "site-packages"):
        for entry in site.iterdir():
            ours = re.match("_*(unembed|editable|pycache)", entry.name) or entry.suffix == ".pth"
            if not ours and not (libraries / entry.name).exists():
                (libraries / entry.name).symlink_to(entry)
    return environment_of(tmp_path_factory.mktemp("stranger"), [str(libraries)])


def wheel(dist: Path, name: str) -> Path:
    (found,) = dist.glob(f"{name.replace('-', '_')}-*.whl")
    return found


@pytest.mark.slow
def test_the_wheel_of_the_code_is_small_and_holds_no_weights(dist) -> None:
    built = wheel(dist, "unembed")
    assert built.stat().st_size < 2_000_000
    names = zipfile.ZipFile(built).namelist()
    packages = {Path(path).name for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}
    assert {name.partition("/")[0].partition("-")[0] for name in names} == packages
    assert [name for name in names if name.endswith(".safetensors")] == [
        "unembed_audit/identify/signatures.safetensors"
    ]
    assert not [name for name in names if "test_" in name and not name.endswith(".jinja")]
    assert "unembed/testing/checks/embedder.py" in names
    assert "unembed/template/project/unembed_{{ name }}/plugin.py.jinja" in names


@pytest.mark.slow
def test_every_tensor_of_the_tree_is_in_a_wheel_of_its_own(dist) -> None:
    there = []
    for name in WEIGHTS:
        built = wheel(dist, f"unembed-{name}")
        assert built.stat().st_size < 100_000_000
        there += [Path(entry).name for entry in zipfile.ZipFile(built).namelist() if entry.endswith(".safetensors")]
    shipped = [path.name for path in (ROOT / "plugins").rglob("*.safetensors") if path.name != "signatures.safetensors"]
    assert sorted(there) == sorted(shipped) and len(there) > 10


@pytest.mark.slow
def test_without_weights_the_message_says_what_to_install(dist, stranger, tmp_path) -> None:
    stranger.run(*OFFLINE, dist, "--target", tmp_path / "site", "--no-deps", "unembed")
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); from unembed.cli import main; main()"
    out = stranger.run("-c", code, "invert", "a short text", code=2)
    assert out == "error: the weights of 'minilm' aren't installed: pip install unembed-minilm\n"
    out = stranger.run("-c", code, "invert", "photo.png", "--inverter", "clip-tiny", code=2)
    assert "pip install unembed-clip-tiny" in out


WORKS = """
import json, unembed
from unembed.registry.discovery import plugins
from unembed_audit.tagger.tagging import Tagger, shipped
inverter = unembed.load("minilm", device="cpu", self_test=True)
found = inverter.invert(inverter.embed(["the patient was given 20 mg"]), effort="low")
names = [one.value for texts in Tagger.open()(["please call wiremu castellanos"]) for one in texts]
places = [spec.checkpoint() for plugin in plugins() for spec in plugin.inverters if spec.name in %r]
box = unembed.load_embedder("clip-tiny", device="cpu")
places = [*map(str, places), str(shipped()), unembed.__file__]
print(json.dumps([found.objects, names, box.dimension, places]))
"""


@pytest.mark.slow
def test_installed_offline_with_its_extras_it_finds_plugins_and_weights_and_inverts(dist, stranger) -> None:
    stranger.run(*OFFLINE, dist, "unembed[audit,image]")
    rows = [json.loads(line) for line in stranger.unembed("plugins", "--json").splitlines()]
    assert {row["name"]: row["error"] for row in rows} == dict.fromkeys(PROJECT["project"]["entry-points"]["unembed"])
    assert {row["version"] for row in rows} == {unembed.__version__}
    offered = {spec["name"] for row in rows for spec in row["inverters"]}
    bundled = set(WEIGHTS) - {"tagger"}
    assert bundled <= offered
    objects, names, width, places = json.loads(stranger.run("-c", WORKS % bundled).splitlines()[-1])
    assert objects == ["the patient was given 20 mg"] and names == ["wiremu castellanos"] and width == 512
    assert len(places) == len(WEIGHTS) + 1 and all(place.startswith(str(stranger.site)) for place in places)


def test_the_version_is_the_same_everywhere() -> None:
    assert PROJECT["project"]["version"] == unembed.__version__
    assert f"\nversion: {unembed.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {unembed.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_licence_page_lists_every_dependency_and_every_model_card() -> None:
    page = (ROOT / "docs/licences.md").read_text(encoding="utf-8")
    lines = [*PROJECT["project"]["dependencies"], *chain(*PROJECT["project"]["optional-dependencies"].values())]
    names = {re.match(r"[\w.-]+", line)[0].lower() for line in lines if not line.startswith("unembed")}
    assert len(names) > 40 and not [name for name in names if f"\n| {name} | " not in page]
    cards = {path.parent.name for path in (ROOT / "plugins").rglob("weights/**/README.md")} | {"tagger"}
    assert not [name for name in cards if not re.search(rf"^### .*{name}$", page, flags=re.MULTILINE)]
