"""Config tables: overrides and one-line errors."""

import pytest

from unembed.config import Config, parse, read_toml
from unembed.errors import ConfigError


class Table(Config):
    steps: int
    name: str = "x"


@pytest.fixture
def file(tmp_path):
    (tmp_path / "c.toml").write_text("steps = 3\n[inner]\na = 1\n")
    return tmp_path / "c.toml"


def test_read_toml_overrides_values_and_tables(file) -> None:
    data = read_toml(file, ["steps=5", "inner.b=[1, 2]", "new.deep.c=plain text"])
    assert data == {"steps": 5, "inner": {"a": 1, "b": [1, 2]}, "new": {"deep": {"c": "plain text"}}}


def test_parse_names_every_fault() -> None:
    with pytest.raises(ConfigError, match=r"here: steps: .*; other: "):
        parse(Table, {"steps": "many", "other": 1}, "here")
    assert parse(Table, {"steps": 1}, "here").name == "x"


def test_parse_gives_what_can_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse(Table, {"steps": 1}, "here").steps = 2
