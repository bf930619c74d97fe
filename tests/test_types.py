"""The types reach whoever installs the package."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

STRANGER = """
import unembed

inverter = unembed.load("minilm")
result = inverter.invert([[0.0]], effort="low", steps=2)
reveal_type(result.confidence)
reveal_type(result.rows())
unembed.evaluate(inverter, ["text"], effort=3)
"""


def test_every_package_says_that_it_has_types() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"]
    assert not [package for package in wheel["packages"] if not (ROOT / package / "py.typed").is_file()]


@pytest.mark.slow
def test_a_strangers_mypy_sees_them(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(STRANGER)
    linted, cache = ROOT / ".mypy_cache", ROOT / ".mypy_cache/stranger"
    if not cache.exists() and linted.exists():  # reading torch takes most of the time, and `make lint` has read it
        shutil.copytree(linted, cache, ignore=shutil.ignore_patterns(cache.name))
    check = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(cache), "mine.py"]
    check.insert(-1, "--untyped-calls-exclude=torch")  # as there, so that what was kept serves
    found = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True)
    assert found.stdout.count('"torch._tensor.Tensor | None"') == 1, found.stdout
    assert 'mine.py:7: note: Revealed type is "list[dict[str, Any]]"' in found.stdout.replace("builtins.", "")
    assert 'mine.py:8: error: Argument "effort" to "evaluate" has incompatible type "int"' in found.stdout
    assert "Found 1 error in 1 file" in found.stdout
