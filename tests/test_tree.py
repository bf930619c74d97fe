"""Rules of the tree: small files and folders, no circle of imports, what the core may import, nothing printed."""

import ast
import inspect
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import unembed

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("core/**/*.py"), *ROOT.glob("plugins/**/*.py")])
CORE_MAY_LOAD = {
    "annotated_types", "click", "einops", "numpy", "pluggy", "pydantic", "pydantic_core", "safetensors", "torch",
    "typing_extensions", "typing_inspection", "unembed",
}  # fmt: skip


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_source_file_is_short(path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_a_folder_holds_a_dozen_files_at_most() -> None:
    for part in ("core", "plugins", "tests"):
        for folder in (ROOT / part, *(path for path in (ROOT / part).rglob("*") if path.is_dir())):
            if not {"weights", "__pycache__"} & set(folder.parts):  # a checkpoint's shards are one thing
                # `py.typed` is a mark and holds nothing.
                files = [path.name for path in folder.iterdir() if path.is_file() and path.name != "py.typed"]
                assert len(files) <= 12, f"{folder.relative_to(ROOT)}: {sorted(files)}"


def module(path: Path) -> str:
    """The dotted name of a source file under `core` or `plugins`."""
    parts = path.relative_to(ROOT).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, known: set[str]) -> set[str]:
    """The modules of ours that a file imports, those for types only and within functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in names}
    return found & known


def test_imports_make_no_circle() -> None:
    files = {module(path): path for path in SOURCES if "template" not in path.parts}
    graph = {name: imported(path, set(files)) - {name} for name, path in files.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_search_takes_a_dozen_arguments_at_most() -> None:
    assert len(inspect.signature(unembed.search).parameters) <= 12


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
