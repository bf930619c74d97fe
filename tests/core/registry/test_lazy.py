"""Factories by name: imported when called, and a missing library of an extra told with what brings it."""

import sys
from functools import partial
from pathlib import Path

import pytest

from unembed.errors import MissingExtraError
from unembed.registry.extras import lacking
from unembed.registry.lazy import lazy
from unembed.registry.specs import CommandSpec, EmbedderSpec, InverterSpec, PluginInfo

CODE = """
import {library}

def made(name, *, more=0):
    return name, more
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that imports a library: `module(name, library)`."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, library: str) -> str:
        (tmp_path / f"{name}.py").write_text(CODE.format(library=library))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return f"{name}:made"

    return write


def test_what_a_name_stands_for_is_imported_at_the_first_call(module) -> None:
    made = lazy(module("lazily_imported", "json"))
    assert "lazily_imported" not in sys.modules
    assert made("x", more=3) == ("x", 3) and made.get() is sys.modules["lazily_imported"].made


def test_a_library_of_the_extra_names_the_command(module) -> None:
    made = lazy(module("needs_absent", "absent_here"), missing="pip install it", libraries={"absent_here"})
    for call in (made.get, lambda: made("x")):
        with pytest.raises(MissingExtraError, match="pip install it"):
            call()


def test_what_is_missing_is_told_without_importing_anything() -> None:
    made = lazy("nowhere:made", missing="pip install it", libraries={"absent_here", "xml", "absent_there"})
    before = set(sys.modules)
    assert made.lacking() == ["absent_here", "absent_there"] and set(sys.modules) == before
    box = EmbedderSpec("box", "a box", partial(made, "an argument"))
    assert lacking(box, ()) == lacking(CommandSpec("go", "goes", made.get), ()) == "pip install it"
    assert lacking(CommandSpec("go", "goes", lazy("json:loads", libraries={"json"}).get), ()) is None
    assert lacking(EmbedderSpec("box", "a box", lambda argument, device: None), ()) is None


def test_an_inverter_lacks_what_its_embedder_lacks() -> None:
    made = lazy("nowhere:made", missing="pip install it", libraries={"absent_here"})
    boxes = (PluginInfo("p", "package", "1", "module", embedders=(EmbedderSpec("box", "a box", made),)),)
    assert lacking(InverterSpec("in", "inverts", None, Path, "box:argument", 3), boxes) == "pip install it"
    assert lacking(InverterSpec("in", "inverts", None, Path, "another", 3), boxes) is None


def test_what_isnt_of_the_extra_is_no_reason_to_install_it(module) -> None:
    made = lazy(module("needs_other", "absent_there"), missing="pip install it", libraries={"absent_here"})
    with pytest.raises(ModuleNotFoundError, match="absent_there") as caught:
        made("x")
    assert not isinstance(caught.value, MissingExtraError)
