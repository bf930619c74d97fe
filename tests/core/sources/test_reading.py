"""A modality's own way to read its objects, and the passages that are read without one."""

from dataclasses import replace

import pytest

from unembed.registry import discovery
from unembed.registry.discovery import read_objects
from unembed.testing.toy import toy_inverter


@pytest.fixture
def passages(tmp_path):
    path = tmp_path / "p.txt"
    path.write_text("cafe\nbead\n")
    return path


def test_a_modality_reads_passages_unless_it_says_otherwise(toy_plugin, passages) -> None:
    assert read_objects(toy_inverter(), passages) == ["cafe", "bead"]


def test_a_modality_reads_its_own_objects(toy_plugin, passages, monkeypatch) -> None:
    kind = replace(discovery.modality("toy"), read=lambda path, column=None: [path.name, column])
    monkeypatch.setattr(discovery, "modality_of", lambda inverter: kind)
    assert read_objects(toy_inverter(), passages, column="letters") == ["p.txt", "letters"]


def test_an_inverter_of_no_modality_reads_passages(passages) -> None:
    assert discovery.modality_of(toy_inverter()) is None
    assert read_objects(toy_inverter(), passages) == ["cafe", "bead"]
