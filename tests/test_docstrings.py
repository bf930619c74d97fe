"""What is public says what it takes, and its example runs."""

import doctest
import inspect
import re

import pytest

import unembed
import unembed.testing

CLASSES = (unembed.Inverter, unembed.Inversion)
FUNCTIONS = {
    **{f"unembed.{name}": getattr(unembed, name) for name in unembed.__all__},
    **{f"unembed.testing.{name}": getattr(unembed.testing, name) for name in unembed.testing.__all__},
}
FUNCTIONS = {name: value for name, value in FUNCTIONS.items() if inspect.isfunction(value)}
METHODS = {
    f"{kind.__name__}.{name}": getattr(kind, name)
    for kind in CLASSES
    for name in ("embed", "exact", "invert", "rows", "save", "stream", "to_pandas")
    if hasattr(kind, name)
}
PUBLIC = FUNCTIONS | METHODS
HEAVY = {"unembed.adapt", "unembed.load", "unembed.load_embedder"}  # open all-MiniLM-L6-v2


def test_functions_and_methods_are_there_to_look_at() -> None:
    assert len(FUNCTIONS) >= 19 and len(METHODS) >= 7 and set(FUNCTIONS) >= HEAVY


@pytest.mark.parametrize("name", PUBLIC)
def test_a_docstring_names_every_argument_and_has_an_example(name) -> None:
    text = inspect.getdoc(PUBLIC[name]) or ""
    for argument in set(inspect.signature(PUBLIC[name]).parameters) - {"self"}:
        assert re.search(rf"`{argument}\b", text), f"{name} doesn't say what {argument} is"
    assert ">>> " in text


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in HEAVY else []) for name in PUBLIC]
)
def test_an_example_runs(name, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (found,) = (test for test in doctest.DocTestFinder(recurse=False).find(PUBLIC[name], name, globs={}))
    said: list[str] = []
    doctest.DocTestRunner(verbose=False, optionflags=doctest.IGNORE_EXCEPTION_DETAIL).run(found, out=said.append)
    assert found.examples and not said, "".join(said)
