"""The baselines of examples/baselines, at toy size."""

import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

FOLDER = Path(__file__).parents[3] / "examples/baselines"
TEXTS = ["the old invoice was paid", "tea is hot", "what time is it"]


@pytest.fixture
def part(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("simple", "decoders", "table"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return import_module


@pytest.mark.parametrize("name", ["PrefixDecoder", "EncoderDecoder"])
@pytest.mark.usefixtures("one_thread")
def test_a_decoder_learns_a_few_texts_by_heart(name, part, embedder, monkeypatch) -> None:
    decoders = part("decoders")
    for key, value in (("WIDTH", 32), ("LAYERS", 2), ("POSITIONS", 2), ("HEADS", 2)):
        monkeypatch.setattr(decoders, key, value)
    vectors = embedder.embed_texts(TEXTS)
    torch.manual_seed(0)
    network = getattr(decoders, name)(embedder.tokenizer, 384, 8)
    assert network.fit(vectors, TEXTS, seconds=600, most=60, rate=1e-2) == 60
    assert network.guess(vectors.flip(0)) == TEXTS[::-1]


def test_the_nearest_text_is_the_most_similar_one(part) -> None:
    nearest = part("simple").Nearest()
    nearest.fit(torch.eye(3) * torch.tensor([1.0, 9.0, 1.0])[:, None], TEXTS)
    assert nearest.guess(torch.tensor([[0.1, 0.2, 5.0], [3.0, 2.0, 0.0]])) == [TEXTS[2], TEXTS[0]]


def test_least_squares_find_a_rotation(part, small_checkpoint, embedder) -> None:
    import unembed

    base = unembed.load(small_checkpoint, device="cpu")
    texts = [f"{number} {kind} were left" for number in range(200) for kind in ("keys", "parcels")]
    turn = torch.linalg.qr(torch.randn(384, 384, generator=torch.Generator().manual_seed(0)))[0]
    attack = part("simple").LeastSquares(base)
    attack.fit(embedder.embed_texts(texts) @ turn, texts)
    true = embedder.embed_texts(TEXTS)
    rows = embedder.embed_texts(texts)
    assert F.cosine_similarity((rows @ turn).double() @ attack.map, rows.double(), dim=-1).min() > 0.999
    assert len(attack.guess(true @ turn)) == 3


def test_rouge_l_is_worked_out_by_hand(part) -> None:
    rouge_l = part("table").rouge_l
    assert rouge_l("a b c d", "a b c d") == 1 and rouge_l("a b", "c") == 0 and rouge_l("a", "") == 0
    assert rouge_l("the cat sat here", "the dog Sat") == pytest.approx(4 / 7)  # "the … sat": 2 of 4, 2 of 3
