"""Confidence: isotonic, worked by hand; the calibration error; and an inverter that has one."""

import pytest
import torch

from unembed.errors import InputError
from unembed.inversion.calibration import calibrate, calibration_counts, calibration_error
from unembed.inversion.evaluation import evaluate
from unembed.testing.toy import toy_inverter, words


def test_calibrate_pools_what_falls() -> None:
    similarity = torch.tensor([0.9, 0.1, 0.5, 0.5, 0.7, 0.3])
    exact = torch.tensor([True, False, True, False, False, False])
    found = calibrate(similarity, exact)
    # 0.1 and 0.3: 0 of 2; 0.5 twice and 0.7, pooled: 1 of 3; 0.9: 1 of 1. One of each kind is added to a pool.
    assert found.similarity == pytest.approx([-1.0, 1 - (0.7 * 0.5) ** 0.5, 1 - (0.3 * 0.1) ** 0.5])
    assert found.probability == pytest.approx([1 / 4, 2 / 5, 2 / 3])
    assert found.n == 6
    asked = torch.tensor([-0.5, 0.40, 0.41, 0.82, 0.83, 1.0])
    assert found.confidence(asked).tolist() == pytest.approx([0.25, 0.25, 0.4, 0.4, 2 / 3, 2 / 3])
    assert found.confidence(torch.tensor([torch.nan])).isnan().all()


def test_calibrate_never_falls() -> None:
    draw = torch.Generator().manual_seed(0)
    similarity = torch.rand(500, generator=draw)
    exact = torch.rand(500, generator=draw) < similarity**3
    found = calibrate(similarity, exact)
    assert found.probability == sorted(found.probability) and found.similarity == sorted(found.similarity)
    assert 0 < found.probability[0] < 0.1 and 0.6 < found.probability[-1] < 1
    fresh = torch.rand(4000, generator=draw)
    counts = calibration_counts(found.confidence(fresh), torch.rand(4000, generator=draw) < fresh**3)
    assert calibration_error(counts.sum(0)) < 0.06


@pytest.mark.parametrize("exact", [[True, True], [False, False], []])
def test_calibrate_needs_both_kinds(exact) -> None:
    with pytest.raises(InputError, match="exact and results that aren't"):
        calibrate(torch.rand(len(exact)), torch.tensor(exact, dtype=torch.bool))


def test_calibration_error_by_hand() -> None:
    confidence = torch.tensor([0.95, 0.92, 1.0, 0.15])
    exact = torch.tensor([True, False, True, False])
    # The last bin holds three: |2.87 − 2|; the second bin one: 0.15.
    assert calibration_error(calibration_counts(confidence, exact).sum(0)) == pytest.approx((0.87 + 0.15) / 4)


def test_an_inverter_with_a_calibration_says_how_sure_it_is(tmp_path) -> None:
    from unembed.checkpoints.manifest import Manifest

    inverter = toy_inverter()
    signals = inverter.codec.encode(words(80, seed=4))
    plain = evaluate(inverter, signals, steps=1)
    assert "calibration_error" not in plain.metrics
    assert inverter.invert(inverter.embed(["cafe"])).confidence is None
    found = calibrate(plain.similarity, plain.exact)
    inverter.manifest = Manifest(modality="toy", name="toy", config={}, embedder={"name": "toy"}, calibration=found)
    again = evaluate(inverter, signals, steps=1)
    low, high = again.ci["calibration_error"]
    assert 0 <= low <= again.metrics["calibration_error"] <= high < 0.3
    solved, wrong = (inverter.invert(inverter.embed([word]), steps=steps).confidence for word, steps in SURE)
    assert solved > wrong


SURE = (("cafe", 8), ("headbeef", 0))


def test_a_similarity_that_no_true_embedding_ends_at_is_unlike() -> None:
    found = calibrate(torch.tensor([0.7, 0.8, 1.0, 1.0]), torch.tensor([False, False, True, True]))
    assert found.floor == pytest.approx(0.65)
    assert found.verdicts(torch.tensor([0.2, 0.66, 1.0, torch.nan])) == ("unlike", None, None, None)
    assert found.model_copy(update={"floor": None}).verdicts(torch.tensor([0.2])) == (None,)
