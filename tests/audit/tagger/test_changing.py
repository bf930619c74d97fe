"""New names in old places, and an inverter's mistakes."""

import random

import pytest

from unembed.errors import MissingExtraError
from unembed_audit.tagger.changing import Speller, corrupted, names_of, renamed, spellers
from unembed_audit.tagger.examples import Example, Record, tagged
from unembed_audit.tagger.labels import OUTSIDE, mended, spans_of

TEXT = "Mary Stone paid 40 dollars; call Mary Stone at 212-555-0187 about atenolol."
RECORD = Record(TEXT, "x", ((0, 10, "name"), (16, 26, "amount"), (33, 43, "name"), (47, 59, "phone"), (66, 74, "drug")))


def test_spelt_words_are_new_and_made_of_the_runs_of_letters_that_were_taught():
    taught = (
        "katarina karolina carolina marina sabrina martina christina maria mariana martin marian marion karin carina "
        "caroline carol marta martha marcel marcela marco roland rolanda sandra sandro alexandra alexander andrea"
    )
    words = taught.split()
    speller, draw = Speller().learn(words), random.Random(0)
    made = {speller.spell(draw) for _ in range(200)}
    assert len(made - set(words)) > 5
    runs = {f"^^^{word}$"[i : i + 4] for word in words for i in range(len(word))}
    assert all(f"^^^{word}"[i : i + 4] in runs for word in made for i in range(len(word)))


def test_renaming_keeps_every_span_and_all_other_words():
    example, draw = tagged(RECORD), random.Random(1)
    spell = spellers([example, tagged(Record("Marianne Strong", "x", ((0, 15, "name"),)))])
    names = [("nguyen", "thi", "lan")]
    changed = 0
    for _ in range(50):
        found = renamed(example, draw, spell=spell, names=names, share=1.0)
        assert [kind for _, _, kind in spans_of(found.tags)] == [kind for _, _, kind in spans_of(example.tags)]
        first, second = [found.words[a:b] for a, b, kind in spans_of(found.tags) if kind == "name"]
        assert first == second
        assert [w for w, t in zip(found.words, found.tags, strict=True) if t == OUTSIDE] == [
            w for w, t in zip(example.words, example.tags, strict=True) if t == OUTSIDE
        ]
        changed += first != ("mary", "stone")
    assert changed > 40
    assert renamed(example, draw, spell=spell, names=names, share=0.0) == example


def test_corruption_keeps_words_with_their_tags_and_makes_spans_that_begin():
    example, draw = tagged(RECORD), random.Random(2)
    seen = set()
    for _ in range(200):
        found = corrupted(example, draw, share=0.2)
        assert len(found.words) == len(found.tags)
        assert mended(list(found.tags)) == list(found.tags)
        letters = sorted(word for word in found.words if word.isalpha())
        spans = [w for w, t in zip(example.words, example.tags, strict=True) if t != OUTSIDE and w.isalpha()]
        assert all(word in letters for word in spans)
        seen.add(found.words)
    assert len(seen) > 100
    assert corrupted(example, draw, share=0.0) == example


def test_short_examples_are_left_alone():
    example = Example(("a", "b"), (OUTSIDE, OUTSIDE))
    assert corrupted(example, random.Random(0), share=1.0) == example


def test_names_of_many_origins_are_plain_words():
    pytest.importorskip("faker")
    found = names_of(["vi_VN", "pl_PL", "en_US"], 30)
    assert len(found) > 15
    assert all(word.isascii() and word == word.lower() for name in found for word in name)


def test_without_faker_the_error_names_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faker", None)
    with pytest.raises(MissingExtraError, match="pip install faker"):
        names_of(["en_US"], 3)
