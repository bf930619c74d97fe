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

CODE = [
    "self.name = name",
    "for i in range(10):",
    "import numpy as np",
    "from os import path",
    "def add(a, b):",
    "def __init__(self, name, size=3):",
    "if x == 0: return none",
    'print("hello, world!")',
    "return self._items[key]",
    "x = [i * 2 for i in range(5) if i % 2 == 0]",
    'data = {"name": "anna", "age": 31}',
    "total += price * count",
    "result = max(a, b) - min(a, b)",
    "with open(path) as file:",
    "while not done and count < 10:",
    "const user = await fetch(url);",
    "let total = 0;",
    "for (let i = 0; i < n; i++) {",
    'raise ValueError("no such file")'.lower(),
    "assert len(rows) == 3",
    'max_tokens = config.get("max_tokens", 32)',
    "np.random.seed(42)",
    "items[1:3] = []",
    "lambda x: x + 1",
    'if __name__ == "__main__": main()',
    "public static void main(string[] args) {",
    "select * from users where id = 1;",
    "y = -x + 1",
    "call(*args, **kwargs)",
    "a, b = b, a",
]


@pytest.mark.parametrize("text", CODE)
def test_detokenize_spaces_code_as_formatters_do(codec, text) -> None:
    assert detokenize(codec.tokenizer.tokenize(text)) == text


@pytest.mark.parametrize("text", NATURAL)
def test_detokenize_gives_back_natural_text(codec, text) -> None:
    tokens = codec.tokenizer.tokenize(text)
    assert detokenize(tokens) == text


def test_join_pieces_merges_words_and_keeps_stray_marks() -> None:
    assert join_pieces(["em", "##bed", "##ding", "##", "x"]) == ["embedding", "##", "x"]
    assert join_pieces(["##ding", "##s"]) == ["dings"]


def test_detokenize_of_nothing() -> None:
    assert detokenize([]) == ""
