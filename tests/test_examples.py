"""The example package stands on its own: it installs from its folder and passes its own tests there."""

import ast
import json
from pathlib import Path

import pytest

import unembed

EXAMPLE = Path(__file__).parents[1] / "examples/unembed_molecules"


@pytest.mark.slow
def test_the_molecules_install_and_pass_their_tests(environment, tmp_path) -> None:
    environment.install(EXAMPLE)
    rows = [json.loads(line) for line in environment.unembed("plugins", "--json", cwd=tmp_path).splitlines()]
    (found,) = (row for row in rows if row["name"] == "molecules")
    assert found["error"] is None and found["package"] == "unembed_molecules"
    assert " passed" in environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=EXAMPLE)


@pytest.mark.parametrize("path", sorted(EXAMPLE.rglob("*.py")), ids=lambda path: path.name)
def test_the_molecules_use_public_names_only(path) -> None:
    """`import unembed`, its public names, and the public modules `unembed.testing` and `unembed.training`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "unembed":
            assert node.module in ("unembed.testing", "unembed.training")
        if isinstance(node, ast.Import):
            assert not [name.name for name in node.names if name.name.startswith("unembed.")]
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "unembed":
            assert node.attr in unembed.__all__
