"""The audit's loop over records and a function that inverts."""

import json

import numpy as np
import pytest

from unembed_audit.findings.finding import Finding
from unembed_audit.pipeline.ledger import Ledger, read_rows
from unembed_audit.pipeline.run import Detectors, Recovered, row_of, run
from unembed_audit.pipeline.sampling import Chosen, Stratum

TEXTS = ["call 212-555-0187", "nothing of note", "mail jane.doe@example.com", "the end"]


def records(known=True):
    return [
        Chosen(f"id-{row}", row, Stratum("notes"), np.full(2, row, np.float32), text if known else None)
        for row, text in enumerate(TEXTS)
    ]


def detectors(**options):
    return Detectors(
        same=lambda originals, found: [a.lower() == b.lower() for a, b in zip(originals, found, strict=True)],
        tokens=lambda texts: [len(text.split()) for text in texts],
        **options,
    )


def backwards(batches):
    """Perfect results, each batch's in reverse."""
    place = 0
    for batch in batches:
        for offset in reversed(range(len(batch))):
            yield Recovered(place + offset, TEXTS[int(batch[offset, 0])], 1.0, 0.99, queries=7)
        place += len(batch)


def test_every_record_gets_its_own_row_in_whatever_order_results_come(tmp_path):
    with Ledger(tmp_path, {}) as ledger:
        assert run(records(), invert=backwards, ledger=ledger, detectors=detectors(show=True), batch=3) == 4
    rows = list(read_rows(tmp_path))
    assert {one["row"]: one["text"] for one in rows} == dict(enumerate(TEXTS))
    assert all(one["exact"] and one["queries"] == 7 for one in rows)


def test_what_is_done_is_skipped(tmp_path):
    asked = []

    def counted(batches):
        for one in backwards(batches):
            asked.append(one.text)
            yield one

    with Ledger(tmp_path, {}) as ledger:
        run(records()[:2], invert=backwards, ledger=ledger, detectors=detectors())
    states = []
    with Ledger(tmp_path, {}) as ledger:
        run(records(), invert=counted, ledger=ledger, detectors=detectors(), total=4, on_progress=states.append)
    assert sorted(asked) == sorted(TEXTS[2:])
    assert sorted(one["row"] for one in read_rows(tmp_path)) == [0, 1, 2, 3]
    assert (states[-1].before, states[-1].done, states[-1].left) == (2, 2, 0)


@pytest.mark.parametrize("results", [[], [Recovered(0, "a", 1.0)] * 2, [Recovered(9, "a", 1.0)]])
def test_an_inversion_that_gives_too_few_or_too_many_results_is_an_error(tmp_path, results):
    def wrong(batches):
        next(iter(batches))
        yield from results

    with Ledger(tmp_path, {}) as ledger, pytest.raises(RuntimeError, match="the inversion gave"):
        run(records()[:1], invert=wrong, ledger=ledger, detectors=detectors())


def test_without_show_no_value_and_no_original_is_written():
    written = json.dumps(row_of(records()[2], Recovered(0, TEXTS[2], 1.0, 0.99), detectors()))
    assert "jane" not in written and "example" not in written
    assert json.loads(written)["findings"][0]["kind"] == "email"


def test_without_a_tagger_names_are_masked_with_all_unknown_words():
    record = Chosen("1", 0, Stratum(""), np.zeros(2, np.float32))
    recovered = Recovered(0, "the letter of rosalind franklin", 1.0)
    assert row_of(record, recovered, detectors())["text"] == "the letter of ████████ ████████"

    def tag(texts):
        return [[Finding("name", 14, 31, text[14:31], 0.9, "tagger")] for text in texts]

    assert row_of(record, recovered, detectors(tag=tag))["text"] == "the letter of r███████ ████████"


def test_without_an_original_nothing_is_measured():
    row = row_of(records(known=False)[0], Recovered(0, TEXTS[0], float("nan"), 0.8), detectors())
    assert (row["exact"], row["words"], row["missed"], row["similarity"]) == (None, None, None, None)
    assert (row["findings"][0]["right"], row["findings"][0]["support"]) == (None, 0.8)
