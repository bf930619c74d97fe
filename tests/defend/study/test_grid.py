"""The cells, the texts and the near edits."""

import pytest
import torch

from unembed.errors import InputError
from unembed.testing.toy import toy_inverter, words
from unembed_defend.defences.opening import open_defence
from unembed_defend.study.edits import near_edits, nearness
from unembed_defend.study.grid import reductions, widths_of
from unembed_defend.study.texts import passages


def test_every_width_is_made_by_both_ways_and_the_full_one_by_none() -> None:
    found = reductions(384, widths_of(384))
    assert widths_of(384) == (384, 192, 96, 48) and len(found) == 7 * 3
    names = [one.name for one in found]
    assert names[:4] == ["clean", "int8", "binary", "pca:192"] and "randproj:48+binary" in names
    assert {one.bits for one in found} == {32, 8, 1}
    with pytest.raises(InputError, match="from 2 to 384"):
        widths_of(384, (500,))


def test_a_chain_does_one_thing_after_the_other() -> None:
    clean = torch.randn(50, 24, generator=torch.Generator().manual_seed(0))
    both, first, second = (open_defence(name) for name in ("pca:12+binary", "pca:12", "binary"))
    both.fit(clean)
    first.fit(clean)
    second.fit(first.apply(clean))
    assert both.name == "pca:12+binary" and both.size(12) == 1.5 and not both.keyed
    assert torch.equal(both.apply(clean), second.apply(first.apply(clean)))
    assert torch.allclose(both.query(clean), first.query(clean)) and both.undo(both.apply(clean)).shape == clean.shape
    with pytest.raises(InputError, match="pca"):
        open_defence("int8+pca")


def test_a_chain_draws_anew_for_each_of_its_parts() -> None:
    clean = torch.zeros(1, 24) + 1
    both = open_defence("gaussian:1+gaussian:1")
    both.fit(clean)
    once = both.apply(clean, 3)
    assert torch.equal(once, both.apply(clean, 3)) and not torch.equal(once, both.apply(clean, 4))
    assert float((both.apply(clean.expand(200, -1), 1) - 1).std()) == pytest.approx(2**0.5, abs=0.1)


def test_openings_of_the_same_passages_are_studied_at_every_length() -> None:
    inverter = toy_inverter()
    found = passages(inverter, words(600), samples=5, others=80, lengths=(2, 4, 6))
    assert [len(part) for part in found.texts.values()] == [5, 5, 5]
    assert all(long.startswith(short) for short, long in zip(found.texts[2], found.texts[6], strict=True))
    assert {len(text) for text in found.texts[6]} == {6}
    assert {len(text) for text in found.others} == {2, 4, 6} and len(found.others) > 40
    assert not set(found.others) & {text for part in found.texts.values() for text in part}
    with pytest.raises(InputError, match="no text has 8 tokens"):
        passages(inverter, ["cafe", "bead"], samples=1, others=1, lengths=(8,))
    with pytest.raises(InputError, match="reads 8 tokens"):
        passages(inverter, words(10), samples=1, others=1, lengths=(9,))


def test_near_edits_change_a_word_or_two() -> None:
    text, pool = "the red fox ran home, quickly", ["blue", "dog"]
    found = near_edits(text, pool, r"\w+|[^\w\s]", 200, seed=1)
    assert len(found) == len(set(found)) == 200 and text not in found
    own = set(text.replace(",", " ,").split())
    for edit in found:
        assert set(edit.replace(",", " , ").split()) <= own | set(pool)
        assert abs(len(edit.split()) - len(text.split())) <= 3
    assert "the blue fox ran home, quickly" in found
    assert found == near_edits(text, pool, r"\w+|[^\w\s]", 200, seed=1)
    assert len(near_edits("ab", list("ab"), ".", 1000, seed=0)) < 60  # no more than there are


def test_nearness_is_a_comparison_of_stored_vectors() -> None:
    stored = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    found = nearness(stored)
    assert found.edits == 2 and found.nearest and found.margin == pytest.approx(1 - 2**-0.5)
    tie = nearness(torch.cat([stored, 2 * stored[:1]]))
    assert not tie.nearest and tie.margin == pytest.approx(0, abs=1e-6)
    assert nearness(stored[:1]).edits == 0
