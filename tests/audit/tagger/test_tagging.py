"""The network, its file, and findings from it: on a tiny BERT that learns a toy rule within seconds."""

import random

import pytest
import torch

from unembed.errors import CheckpointError
from unembed_audit.tagger import network as network_file
from unembed_audit.tagger import tagging
from unembed_audit.tagger.examples import Example, Record
from unembed_audit.tagger.labels import OUTSIDE, TAGS, begin, inside
from unembed_audit.tagger.network import TaggerManifest, TaggerNetwork, open_network, save_network
from unembed_audit.tagger.scoring import lowered, score_spans
from unembed_audit.tagger.tagging import WINDOW, Tagger
from unembed_audit.tagger.training import Options, batches, encoded, train

transformers = pytest.importorskip("transformers")

NAMES, OTHERS = ["anna", "boris", "chloe", "dmitri"], ["met", "the", "dog", "near", "a", "tree", "and"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *NAMES, *OTHERS, "an", "##na", "##x", ".", ","]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    return transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=True)


def tiny(tuned=1):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=300,
    )  # fmt: skip
    model = transformers.BertModel(config)
    with torch.no_grad():
        model.embeddings.position_embeddings.weight.zero_()  # so that what it learns on few words holds for many
    return TaggerNetwork(model, tuned=tuned)


def sentence(draw):
    """Every name is tagged; the last two are a first and a second name, always together."""
    words, tags = [], []
    while len(words) < 8:
        if draw.random() < 0.3:
            chosen = draw.choice([NAMES[:1], NAMES[1:2], NAMES[2:]])
            words += chosen
            tags += [begin("name"), inside("name")][: len(chosen)]
        words.append(draw.choice(OTHERS))
        tags.append(OUTSIDE)
    return Example(tuple(words), tuple(tags))


@pytest.fixture(scope="module")
def trained(tokenizer):
    network, draw = tiny(2), random.Random(0)
    examples = [sentence(draw) for _ in range(200)]
    options = Options(steps=80, batch=16, rate=5e-3, head_rate=5e-3, plain=0, corrupt=0, rename=0)
    losses = train(
        network, tokenizer, batches(examples, [], [], options, spell={}, names=()), options, torch.device("cpu")
    )
    assert losses[-1] < losses[0] / 5
    return network


def test_only_the_last_layers_and_the_head_are_trained(tokenizer):
    network = tiny(1)
    before = {name: one.detach().clone() for name, one in network.named_parameters()}
    options = Options(steps=2, batch=4)
    draw = random.Random(0)
    train(
        network, tokenizer, batches([sentence(draw)], [], [], options, spell={}, names=()), options, torch.device("cpu")
    )
    moved = {name for name, one in network.named_parameters() if not torch.equal(one, before[name])}
    assert moved and moved <= set(network.changed())
    assert all(name.startswith(("head.", "encoder.encoder.layer.1.")) for name in network.changed())


def test_every_piece_of_a_word_has_its_tag(tokenizer):
    ids, mask, tags = encoded(
        [Example(("anx", "met"), (begin("name"), OUTSIDE)), Example(("the",), (OUTSIDE,))],
        tokenizer,
        torch.device("cpu"),
    )
    assert tokenizer.convert_ids_to_tokens(ids[0].tolist()) == ["[CLS]", "an", "##x", "met", "[SEP]"]
    assert tags[0].tolist() == [-100, begin("name"), begin("name"), OUTSIDE, -100]
    assert mask[1].sum() == 3 and tags[1].tolist()[2:] == [-100] * 3


def test_a_trained_tagger_finds_what_it_was_taught(trained, tokenizer):
    tagger = Tagger(trained, tokenizer)
    text = "the dog met Chloe  Dmitri near a tree and anna"
    (found,) = tagger([text])
    assert [(one.kind, text[one.start : one.end]) for one in found] == [("name", "Chloe  Dmitri"), ("name", "anna")]
    assert all(one.by == "tagger" and one.score > 0.5 for one in found)
    assert tagger(["", "the"]) == [[], []]


def test_a_long_text_is_read_in_windows_that_agree(trained, tokenizer):
    tagger = Tagger(trained, tokenizer)
    text = " ".join(["the dog met anna near a tree and"] * 80)
    assert len(text.split()) > 2 * WINDOW
    (found,) = tagger([text])
    assert [text[one.start : one.end] for one in found] == ["anna"] * 80


def test_a_tagger_read_back_finds_the_same_and_is_small(trained, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(network_file, "fingerprint", lambda folder: "known")
    encoder = trained.encoder

    def fresh(folder, *, tuned):
        model = tiny(tuned)
        layers = model.encoder.state_dict()
        kept = {name: one for name, one in encoder.state_dict().items() if "encoder.layer." not in name}
        model.encoder.load_state_dict({**layers, **kept})
        return model

    monkeypatch.setattr(TaggerNetwork, "on_minilm", fresh)
    save_network(trained, tmp_path / "t.safetensors", TaggerManifest(2, "known", {"steps": 80}, {}))
    again, manifest = open_network(tmp_path / "t.safetensors", tmp_path)
    text = ["a dog near anna and boris"]
    assert [(one.start, one.end, one.kind) for one in Tagger(again, tokenizer)(text)[0]] == [
        (one.start, one.end, one.kind) for one in Tagger(trained, tokenizer)(text)[0]
    ]
    assert manifest.training == {"steps": 80}
    own = sum(one.numel() for one in trained.changed().values())
    assert (tmp_path / "t.safetensors").stat().st_size < 2 * own + 10_000
    monkeypatch.setattr(network_file, "fingerprint", lambda folder: "another")
    with pytest.raises(CheckpointError, match="other weights"):
        open_network(tmp_path / "t.safetensors", tmp_path)


def test_another_file_is_no_tagger(tmp_path):
    (tmp_path / "t.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="holds no tagger"):
        open_network(tmp_path / "t.safetensors", tmp_path)


def test_scores_count_characters(trained, tokenizer):
    records = [Record("Anna met the dog", "x", ((0, 4, "name"),)), Record("a tree and a dog", "x", ((2, 6, "org"),))]
    found = score_spans(records, Tagger(trained, tokenizer))
    assert found["name"] == {"recall": 1.0, "precision": 1.0, "covered": 1.0, "n": 1}
    assert (found["org"]["recall"], found["org"]["n"]) == (0.0, 1)


def test_lowering_never_moves_a_character():
    assert lowered("İstanbul ÀB") == "İstanbul àb" and len(lowered("İ")) == 1


def test_there_is_a_score_for_every_tag():
    assert tiny().head[-1].out_features == len(TAGS)


def test_a_full_stop_goes_on_with_the_span_before_it():
    words_there = ["dr", ".", "webb", ",", ".", "anna"]
    spans = [(0, 1, "name"), (1, 3, "name"), (4, 6, "name")]
    assert tagging._joined(spans, words_there) == [(0, 3, "name"), (4, 6, "name")]
    assert tagging._joined([(0, 1, "org"), (1, 3, "name")], words_there) == [(0, 1, "org"), (1, 3, "name")]
