"""Tokens back to the text that people would have written."""

import pytest

from unembed_text.codecs.detokenize import detokenize, join_pieces

NATURAL = [
    "the patient was given 20 mg",
    "don't stop, it's john's and they're here",
    "we've said we'll go; i'd rather not",
    "rock 'n' roll at five o'clock",
    'she said "come in" and left.',
    '"why?" he asked.',
    "“curly quotes” work, don’t they?",
    "the ‘old’ way",
    "a well-known, state-of-the-art method",
    "a dash—between words",
    "from 1990–1995",
    "the price (about $20.50) rose by 3.5%",
    "it cost £1,250,000 or €99.",
    "version 3.11.4 is out",
    "meet me at 10:30, room 4b",
    "the u.s. and the u.k. agreed, e.g. on trade",
    "write to anna@example.com today",
    "see https://www.example.org/a/b?c=d for more",
    "wait... what?",
    "no! really?!",
    "tags like [this] and {that}",
    "either/or, and/or",
    "at&t makes r&d, marks & spencer sells food",
    "#hashtag and 100% sure",
    "the students' books",
    "he called it 'fine' twice",
    "50°c outside",
    "x = 3",
    "y'all come back",
    "issue #42; see fig. 3(b)",
]
DIFFERENT = {"x = 3": "x=3"}


@pytest.mark.parametrize("text", NATURAL)
def test_detokenize_gives_back_natural_text(codec, text) -> None:
    tokens = codec.tokenizer.tokenize(text)
    assert detokenize(tokens) == DIFFERENT.get(text, text)


def test_join_pieces_merges_words_and_keeps_stray_marks() -> None:
    assert join_pieces(["em", "##bed", "##ding", "##", "x"]) == ["embedding", "##", "x"]
    assert join_pieces(["##ding", "##s"]) == ["dings"]


def test_detokenize_of_nothing() -> None:
    assert detokenize([]) == ""
