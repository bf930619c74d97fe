"""How sure a span is: agreement among candidates, and a calibration of it."""

import math

import numpy as np
import pytest

from unembed.errors import InputError
from unembed_audit.findings.finding import Finding
from unembed_audit.findings.support import SpanCalibration, agreement, features_of, fit, supported

PHONE = Finding("phone", 5, 17, "212-555-0187", 0.9)


def test_agreement_is_the_share_of_other_candidates_that_have_the_value():
    texts = ["call 212-555-0187", "ring 212 - 555 - 0187", "call 212-555-0188"]
    assert agreement(PHONE, texts, [0.99, 0.98, 0.98]) == pytest.approx(0.5)


def test_a_closer_candidate_counts_more():
    texts = ["call 212-555-0187", "call 212-555-0187", "call 212-555-0188"]
    assert agreement(PHONE, texts, [0.99, 0.99, 0.90]) > 0.9


def test_without_other_candidates_agreement_isnt_known():
    assert math.isnan(agreement(PHONE, ["call 212-555-0187"], [0.99]))


def test_support_is_at_least_the_probability_of_the_whole_text_and_unknown_without_any():
    assert supported([PHONE])[0].support is None
    assert supported([PHONE], confidence=0.7)[0].support == 0.7


def test_a_calibration_is_calibrated_on_spans_like_those_it_was_fitted_to(tmp_path):
    draw = np.random.default_rng(0)
    n = 4000
    agreed = draw.random(n)
    features = np.stack([np.ones(n), agreed, -2 - draw.random(n), np.full(n, 0.5), np.zeros(n)], 1)
    right = draw.random(n) < 1 / (1 + np.exp(-(6 * agreed - 3)))
    found = fit(features, right)
    assert found.error < 0.05
    low, high = (found.probability([1.0, share, -2.5, 0.5, 0.0]) for share in (0.0, 1.0))
    assert low == pytest.approx(0.047, abs=0.03) and high == pytest.approx(0.953, abs=0.03)
    found.save(tmp_path / "spans.json")
    assert SpanCalibration.load(tmp_path / "spans.json") == found
    texts = ["call 212-555-0187", "ring 212-555-0187"]
    (weighed,) = supported([PHONE], candidates=texts, similarity=[0.99, 0.99], calibration=found)
    assert weighed.support == pytest.approx(found.probability(features_of(PHONE, texts, [0.99, 0.99], None)))
    assert weighed.support > 0.8


def test_a_calibration_needs_right_and_wrong_spans():
    with pytest.raises(InputError, match="right ones and wrong ones"):
        fit(np.ones((30, 5)), np.ones(30, dtype=bool))
