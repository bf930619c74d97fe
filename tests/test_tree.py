"""Rules of the tree: small files, what the core may import, nothing printed by the library."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("core/**/*.py"), *ROOT.glob("plugins/**/*.py")])
CORE_MAY_LOAD = {
    "annotated_types", "click", "einops", "numpy", "pluggy", "pydantic", "pydantic_core", "safetensors", "torch",
    "typing_extensions", "typing_inspection", "unembed",
}  # fmt: skip


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_source_file_is_short(path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


def modules(imported: str) -> set[str]:
    code = f"import sys\n{imported}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_the_core_loads_only_what_it_may() -> None:
    everything = (
        "import unembed, unembed.cli, unembed.training, unembed.testing.toy\n"
        "for name in unembed.__all__: getattr(unembed, name)"
    )
    loaded = modules(everything) - modules("import torch, numpy, click, pydantic, safetensors.torch, pluggy")
    assert not {name for name in loaded if name not in CORE_MAY_LOAD and name not in sys.stdlib_module_names}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", sorted(ROOT.glob("core/**/*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_knows_no_plugin(path) -> None:
    assert not {name for name in imports(path) if name.startswith("unembed_") or name in ("transformers", "PIL")}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_library_prints_only_to_files(path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            assert "file" in {word.arg for word in node.keywords}
