"""T5 signals hold any text, and equal ones are equal to the embedder."""

import pytest
import torch

from unembed.errors import InputError
from unembed_text.codecs.t5 import T5Codec

TEXTS = ["hello there", "what time is it?", "a {brace} and 日本", "hello , there", "tea", "two  spaces"]


@pytest.fixture
def codec(t5_tokenizer) -> T5Codec:
    return T5Codec(t5_tokenizer, vocabulary=len(t5_tokenizer), width=31)


def test_a_text_comes_back_as_the_embedder_sees_it(codec, t5_tokenizer) -> None:
    signals = codec.encode(TEXTS)
    back = codec.decode(signals)
    ids = [t5_tokenizer(text)["input_ids"] for text in TEXTS]
    assert [t5_tokenizer(text)["input_ids"] for text in back] == ids
    assert torch.equal(codec.encode(back), signals)
    assert back[2] == TEXTS[2]  # T5 has no brace: the text is kept as bytes


def test_a_text_is_cut_where_the_embedder_stops_reading(codec, t5_tokenizer) -> None:
    long = " ".join(["hello there"] * 30)
    assert codec.lengths([long])[0] > 31
    (text,) = codec.decode(codec.encode([long]))
    assert t5_tokenizer(text, add_special_tokens=False)["input_ids"] == t5_tokenizer(long)["input_ids"][:31]
    assert torch.equal(codec.encode([long]), codec.encode([long + " and more"]))


def test_first_keeps_so_many_tokens_of_the_reader(codec, t5_tokenizer) -> None:
    signals = codec.first(TEXTS, 3)
    ids = [t5_tokenizer(text, add_special_tokens=False)["input_ids"] for text in codec.decode(signals)]
    assert [len(row) for row in ids] == [3] * len(ids)
    with pytest.raises(InputError, match="from 1 to 31 tokens"):
        codec.first(TEXTS, 32)


def test_equal_to_an_uncased_reader_are_texts_that_differ_in_case(t5_tokenizer, embedder) -> None:
    codec = T5Codec(t5_tokenizer, vocabulary=len(t5_tokenizer), width=31, reader=embedder.tokenizer)
    assert torch.equal(codec.encode(["Hello THERE"]), codec.encode(["hello there"]))
    assert not torch.equal(codec.encode(["hello there"]), codec.encode(["hello here"]))


def test_ids_are_read_as_the_tokenizer_reads_them(codec, t5_tokenizer) -> None:
    draw = torch.Generator().manual_seed(0)
    rows = [*torch.randint(0, len(t5_tokenizer) + 5, (50, 12), generator=draw).tolist(), [], [0], [1], [2, 2]]
    wanted = t5_tokenizer.batch_decode(rows, skip_special_tokens=True, clean_up_tokenization_spaces=True)
    assert codec._read(rows) == wanted and codec._read([]) == []


def test_bytes_are_read_by_a_network_as_the_nearest_ids(codec, t5_tokenizer) -> None:
    signals = codec.encode(["a {brace}", "hello there"])
    assert (signals[0] >= codec.vocabulary).any() and not (signals[1] >= codec.vocabulary).any()
    ids = codec.written(signals)
    assert ids.max() < codec.vocabulary
    assert ids[0][ids[0] != 0].tolist() == t5_tokenizer("a {brace}")["input_ids"]


def test_what_is_no_text_is_refused(codec) -> None:
    with pytest.raises(InputError, match="input 1 is not text but int"):
        codec.encode(["tea", 3])


def test_ids_that_spell_nothing_are_the_empty_text(codec) -> None:
    nothing = torch.tensor([[2, 2, 1, 0]])
    assert codec.decode(nothing) == [""]
    assert codec.decode(codec.encode(["", "tea"])) == ["", "tea"]
