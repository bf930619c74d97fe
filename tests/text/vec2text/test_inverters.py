"""A pair keeps an inverter's promises, and does what vec2text does with the same weights."""

import json

import numpy as np
import pytest
import torch

from unembed import cosine, load
from unembed.testing import check_inverter
from unembed_text.decoder.decoder import Special
from unembed_text.methods.vec2text.importing import import_pair
from unembed_text.methods.vec2text.network import as_read

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = ["hello there", "a rather longer text, with commas", "what time is it?", "tea"]


def test_an_imported_pair_conforms(random_pair) -> None:
    check_inverter(load(str(random_pair), device="cpu"), TEXTS[:2])


def test_a_corrector_reads_first_guesses_without_their_end() -> None:
    special = Special(pad=0, start=0, end=1)
    ids = torch.tensor([[5, 6, 7, 8, 9], [5, 6, 7, 8, 1], [5, 1, 0, 0, 0]])
    found = as_read(ids, special, 4)
    assert found.tolist() == [[0, 5, 6, 7, 0, 0], [0, 5, 6, 7, 8, 1], [0, 5, 1, 0, 0, 0]]


def test_one_guess_to_correct_is_only_shorter(random_pair) -> None:
    inverter = load(str(random_pair), device="cpu")
    vectors, long = inverter.embed(TEXTS), inverter.hypothesizer
    short = inverter.parts["draft"].__self__
    assert short.length == long.tokens < long.length
    a, b = (part.hypothesize(vectors, 1)[:, 0] for part in (long, short))
    assert (a != b).any()  # some go on and on
    read = [as_read(inverter.codec.written(ids), long.network.special, long.tokens) for ids in (a, b)]
    assert torch.equal(*read)
    assert torch.allclose(inverter.embedder.embed(a), inverter.embedder.embed(b), atol=1e-6)


def test_only_a_search_without_steps_writes_guesses_to_their_end(random_pair, monkeypatch) -> None:
    inverter = load(str(random_pair), device="cpu")
    vectors, asked = inverter.embed(TEXTS), []
    kind = type(inverter.hypothesizer)
    guess = kind._hypothesize
    monkeypatch.setattr(kind, "_hypothesize", lambda self, *rest: asked.append(self.length) or guess(self, *rest))
    inverter.invert(vectors, steps=0)
    inverter.invert(vectors, steps=1)
    assert asked == [inverter.hypothesizer.length, inverter.hypothesizer.tokens]


@pytest.fixture(scope="module")
def published(tmp_path_factory, reference):
    """The reference checkpoint as an inverter, and what vec2text made of it."""
    folder = reference / "reference" / "vec2text-checkpoint"
    out = tmp_path_factory.mktemp("reference") / "pair"
    parts = (str(folder / part) for part in ("inversion", "corrector"))
    import_pair(*parts, out, embedder=str(folder / "embedder"), device=torch.device("cpu"))
    arrays = {name: torch.from_numpy(array) for name, array in np.load(folder / "reference.npz").items()}
    return load(str(out), device="cpu"), json.loads((folder / "expected.json").read_text()), arrays


@pytest.mark.reference
def test_embeddings_and_logits_are_those_of_vec2text(published) -> None:
    inverter, expected, arrays = published
    assert torch.allclose(inverter.embed(expected["texts"]), arrays["embeddings"], atol=1e-4)
    guess, correction = inverter.hypothesizer.network, inverter.corrector.network
    for network, name, state in (
        (guess, "inversion_logits", (arrays["embeddings"], None, None)),
        (
            correction,
            "corrector_logits",
            (arrays["embeddings"], arrays["hypothesis_ids"], arrays["hypothesis_embeddings"]),
        ),
    ):
        with torch.no_grad():
            decoder = network.decoder
            logits = decoder.lm_head(decoder.read(*network.encode(*state), arrays["input_ids"]))
        assert torch.allclose(logits[:, :8], arrays[name], atol=1e-4)


@pytest.mark.reference
def test_zero_steps_and_one_correction_give_the_same_strings(published) -> None:
    inverter, expected, arrays = published
    vectors = arrays["embeddings"]
    runs = {(run["args"]["num_steps"], run["args"].get("sequence_beam_width")): run for run in expected["runs"]}
    assert inverter.invert(vectors, steps=0, beam=1).objects == runs[None, 0]["output"]
    guess = inverter.hypothesizer.hypothesize(vectors, 1)[:, 0]
    corrected = inverter.corrector.correct(vectors, guess, inverter.embedder.embed(guess), 1)[:, 0]
    assert inverter.codec.decode(corrected) == runs[1, None]["output"]


@pytest.mark.reference
def test_no_text_comes_back_further_off_than_from_vec2text(published) -> None:
    inverter, expected, arrays = published
    vectors = arrays["embeddings"]
    for run in expected["runs"][1:]:
        beam = run["args"].get("sequence_beam_width") or 1
        found = inverter.invert(vectors, steps=run["args"]["num_steps"], beam=beam)
        theirs = cosine(vectors, inverter.embedder.texts.embed_texts(run["output"]))
        assert (found.similarity >= theirs - 1e-5).all(), run["args"]


@pytest.mark.reference
def test_the_reference_pair_conforms(published) -> None:
    inverter, expected, _ = published
    check_inverter(inverter, expected["texts"][:2])
