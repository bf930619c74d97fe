"""What is noted of the spans that come back: what speaks for each, and whether it is right."""

import json

import pytest
from click.testing import CliRunner

from unembed.testing.toy import toy_inverter, words
from unembed_audit.findings.support import SpanCalibration
from unembed_audit.pipeline import calibrating
from unembed_audit.pipeline.calibrating import invert_texts, main, weighed


def row(recovered, text, others, confidence=0.2):
    return {"recovered": recovered, "text": text, "candidates": [recovered, *others], "effort": "low",
            "similarities": [0.98] * (1 + len(others)), "confidence": confidence, "inverter": "toy"}  # fmt: skip


RIGHT = row("call 212-555-0187", "please call 212 - 555 - 0187", ["ring 212-555-0187", "call 212 - 555 - 0187"])
WRONG = row("call 212-555-0187", "please call 310 - 555 - 0142", ["ring 212-555-0111", "call 310-555-0187"], None)


def test_a_span_is_right_where_it_stands_in_the_text_and_its_agreement_is_noted():
    features, right, confidence = weighed([RIGHT, WRONG], None)
    assert right == [True, False] and confidence == [0.2, 0.0]
    assert [one[1] for one in features] == [pytest.approx(1.0), pytest.approx(0.0)]


def test_texts_are_inverted_with_their_candidates():
    given = words(5, seed=2)
    found = list(invert_texts(toy_inverter(), given, effort="low"))
    assert [one["text"] for one in found] == given
    assert all(one["candidates"][0] == one["recovered"] and one["inverter"] for one in found)


def test_a_fit_of_what_was_inverted_before_needs_no_search(tmp_path, monkeypatch):
    monkeypatch.setattr("unembed_audit.commands.opening.open_tagger", lambda device: None)
    kept, out = tmp_path / "kept.jsonl", tmp_path / "support.json"
    kept.write_text("".join(json.dumps(one) + "\n" for one in [RIGHT, WRONG] * 20))
    done = CliRunner().invoke(main, ["--samples", "40", "--inversions", str(kept), "--out", str(out)])
    assert done.exit_code == 0, done.output
    found = SpanCalibration.load(out)
    assert (found.n, found.inverter) == (40, "toy") and found.error < 0.05
    assert json.loads(done.output) == {"texts": 40, "spans": 40, "right": 0.5, "error": round(found.error, 4)}
    monkeypatch.setattr(calibrating, "SHIPPED", out)
    done = CliRunner().invoke(main, ["--samples", "40", "--inversions", str(kept), "--check"])
    assert json.loads(done.output)["error"] < 0.15
