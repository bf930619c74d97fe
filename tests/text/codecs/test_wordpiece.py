"""Texts to ids as the embedder sees them, and back without loss."""

import pytest
import torch

from unembed.errors import InputError
from unembed.sources.passages import read_passages


def test_encode_gives_the_embedders_own_ids(codec) -> None:
    signals = codec.encode(["Hello, World!"])
    assert signals.shape == (1, 254)
    assert codec.tokenizer.convert_ids_to_tokens(signals[0, :5]) == ["hello", ",", "world", "!", "[PAD]"]


def test_encode_cuts_what_the_embedder_does_not_see(codec) -> None:
    long = " ".join(["word"] * 300)
    assert (codec.encode([long]) != 0).sum() == 254
    assert codec.lengths([long, "two words"]) == [300, 2] and codec.lengths([]) == []


@pytest.mark.parametrize("objects", [["", "x"], ["   "], [3], [None]])
def test_encode_refuses_what_is_no_text(codec, objects) -> None:
    with pytest.raises(InputError, match="input 0"):
        codec.encode(objects)


def test_encode_takes_characters_that_the_tokenizer_does_not_know(codec) -> None:
    assert codec.tokenizer.unk_token_id in codec.encode(["🫠 ok"])[0]


def test_first_takes_the_first_tokens_of_texts_that_have_them(codec) -> None:
    signals = codec.first(["one two three four", "one two", "a b c"], 3)
    assert codec.decode(signals) == ["one two three", "a b c"]
    with pytest.raises(InputError, match="none of the 1 inputs has 9"):
        codec.first(["one"], 9)
    with pytest.raises(InputError, match="from 1 to 254"):
        codec.first(["one"], 255)


def test_decode_prefers_a_text_that_reads_back(codec) -> None:
    # Side by side these dots would be one token of three.
    for text in ("a . . . b", "it's 3 . 5", "( a )"):
        signals = codec.encode([text])
        assert torch.equal(codec.encode(codec.decode(signals)), signals)


def test_decode_survives_any_ids(codec) -> None:
    draw = torch.Generator().manual_seed(0)
    signals = torch.zeros(50, 254, dtype=torch.long)
    signals[:, :20] = torch.randint(1, 30522, (50, 20), generator=draw)
    texts = codec.decode(signals)
    assert len(texts) == 50 and all(texts)
    codec.encode(texts)


@pytest.mark.reference
def test_decode_of_real_windows_reads_back_as_the_same_ids(codec, reference) -> None:
    passages = read_passages(reference / "data" / "text" / "validation.parquet")
    for length in (5, 16, 32):
        signals = codec.first(passages, length)
        same = (codec.encode(codec.decode(signals)) == signals).all(1).float().mean().item()
        assert same > 0.999
