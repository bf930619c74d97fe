"""How sure each word is: evidence worked by hand, the fit, and an inverter that says it."""

import math

import pytest
import torch

from unembed.checkpoints.manifest import Manifest
from unembed.errors import InputError
from unembed.inversion.calibration import Calibration, calibration_counts, calibration_error
from unembed.inversion.evaluation import evaluate
from unembed.inversion.words import WordCalibration, WordEvidence, calibrate_words, present, word_evidence
from unembed.testing.toy import toy_inverter, words

WORD = r"\w+"


def evidence(loss: float = 0.0, most: float = 0.0) -> WordEvidence:
    texts = ["a b b", "a c b", "a b"]
    return word_evidence(WORD, ["a b b"], [texts], [[0.9, 0.85, 0.7]], loss=[loss], most=[most])


def test_evidence_by_hand() -> None:
    found = evidence()
    assert found.words == (("a", "b", "b"),)
    # All have an a and a b; the nearest without a second b is 0.05 further off, where the best one is off by 0.1.
    agreed, gap, off, lost = found.features.T.tolist()
    assert agreed == pytest.approx([1, 1, 1 / 3])
    assert gap == pytest.approx([math.log(0.2 / 0.1001 + 0.01)] * 2 + [math.log(0.05 / 0.1001 + 0.01)])
    assert off == pytest.approx([math.log(0.1001)] * 3) and lost == pytest.approx([math.log(0.0001)] * 3)


def test_what_rounding_takes_is_not_held_against_words() -> None:
    gap, off, lost = evidence(loss=0.08, most=0.1).features[2, 1:].tolist()
    assert off == pytest.approx(math.log(0.0001)) and lost == pytest.approx(math.log(0.0801))
    assert gap == pytest.approx(math.log(0.05 / 0.0801 + 0.01))


def test_a_word_is_right_as_often_as_the_original_has_it() -> None:
    assert present(WORD, ["a b b a", "c"], ["b a b", "a"]).tolist() == [True, True, True, False, False]


def test_a_fit_finds_the_curve_it_was_drawn_from() -> None:
    draw = torch.Generator().manual_seed(3)
    features = torch.randn(20_000, 4, generator=draw, dtype=torch.float64) * torch.tensor([0.3, 1, 2, 1]) - 1
    features[:, 3] = math.log(1e-4)  # no vector was rounded
    drawn = WordCalibration(weights=[0.5, 2.0, 1.0, -0.5, 0.0], n=1)
    right = torch.rand(20_000, generator=draw) < drawn.probabilities(WordEvidence((), features))
    found = calibrate_words(features[:10_000], right[:10_000])
    assert found.weights[1:] == pytest.approx([2.0, 1.0, -0.5, 0.0], abs=0.15) and found.n == 10_000
    counts = calibration_counts(found.probabilities(WordEvidence((), features[10_000:])), right[10_000:])
    assert calibration_error(counts.sum(0)) < 0.02


@pytest.mark.parametrize("right", [[True, True], [False, False], []])
def test_a_fit_needs_right_and_wrong_words(right) -> None:
    with pytest.raises(InputError, match="right and wrong"):
        calibrate_words(torch.zeros(len(right), 4, dtype=torch.float64), torch.tensor(right, dtype=torch.bool))


def test_words_that_separate_get_finite_weights() -> None:
    features = torch.tensor([[0.0, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.float64).repeat(20, 1)
    found = calibrate_words(features, torch.tensor([False, True]).repeat(20))
    low, high = found.probabilities(WordEvidence((), features[:2])).tolist()
    assert low < 0.05 and high > 0.95 and all(map(math.isfinite, found.weights))


def test_an_inverter_says_how_sure_each_word_is() -> None:
    inverter = toy_inverter()
    texts = words(300, seed=9)
    vectors = inverter.embed(texts)
    plain = inverter.invert(vectors, effort="low", steps=1)
    found = inverter.invert(vectors, effort="low", steps=1, words=True)
    assert torch.equal(plain.queries, found.queries) and plain.objects == found.objects
    assert found.words is None and found.evidence is not None
    assert "words" not in plain.rows()[0] and found.rows()[0]["words"] is None
    half = sum(map(len, found.objects[:150]))
    right = present(".", found.objects, texts)
    sure = calibrate_words(found.evidence.features[:half], right[:half])
    calibration = Calibration(similarity=[-1.0], probability=[0.5], n=2, words=sure)
    inverter.manifest = Manifest(
        modality="toy", name="toy", config={}, embedder={"name": "toy"}, calibration=calibration
    )
    rows = inverter.invert(vectors[150:], effort="low", steps=1, words=True).rows()
    assert all("".join(word for word, _ in row["words"]) == row["reconstruction"] for row in rows)
    chances = torch.tensor([chance for row in rows for _, chance in row["words"]])
    assert calibration_error(calibration_counts(chances, right[half:]).sum(0)) < 0.05
    assert chances[right[half:]].mean() > chances[~right[half:]].mean() + 0.2
    assert next(iter(inverter.stream([vectors[:1]], effort="low", words=True)))["words"]


def test_words_are_asked_of_an_inverter_that_writes_them(monkeypatch) -> None:
    inverter = toy_inverter()
    monkeypatch.setattr(type(inverter.codec), "word", None)
    with pytest.raises(InputError, match="doesn't write words"):
        inverter.invert(inverter.embed(["cafe"]), words=True)
    assert evaluate(inverter, ["cafe", "bead"]).n == 2
