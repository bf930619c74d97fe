"""The figures of report.json, counted by hand."""

import json

import pytest

from unembed_audit.pipeline.sampling import Census, Stratum
from unembed_audit.report.summary import summarise, without_credentials
from unembed_audit.report.words import changes, method, sentences


def test_measured_rows_are_counted_by_what_is_right(make):
    both = [make.finding(right=True), make.finding("iban", right=False)]
    rows = [
        make.row(0, exact=True, words=1.0, missed={}),
        make.row(1, exact=False, words=0.5, missed={}, findings=both),
        make.row(2, exact=False, words=0.0, missed={"phone": 3}, findings=[make.finding("time", right=True)]),
        make.row(3, exact=False, words=0.5, missed={}, deleted=True),
    ]  # fmt: skip
    found = summarise(rows, make.census, make.conditions())
    assert found["method"] == "measured" and found["measured"] == 4
    # Of three live records one is exact, two give something away; a time of day alone doesn't count.
    assert found["live"]["exact"]["share"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["live"]["disclosed"]["share"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["deleted"]["disclosed"] == {"share": 0.0, "low": 0.0, "high": pytest.approx(0.78, abs=0.02), "n": 1}
    assert found["overall"]["disclosed"]["share"] == pytest.approx(0.9 * 2 / 3, abs=1e-4)
    assert found["store"] == {
        "records": 90, "deleted": 10, "collections": 1, "foreign": 0, "skipped": 1,
        "reasons": ["row 3: holds NaN"], "notes": [],
    }  # fmt: skip
    phones = next(kind for kind in found["by_kind"] if kind["kind"] == "phone")
    assert (phones["found"], phones["right"], phones["precision"], phones["recall"]) == (1, 1.0, 1.0, 0.25)
    json.dumps(found, allow_nan=False)


def test_estimates_stand_in_where_no_originals_are(make):
    rows = [make.row(0, confidence=0.8), make.row(1, confidence=0.1, findings=[make.finding(support=0.6)])]
    found = summarise(rows, make.census, make.conditions())
    assert found["method"] == "estimated"
    assert found["overall"]["exact"]["share"] == pytest.approx(0.45)
    assert found["overall"]["disclosed"]["share"] == pytest.approx(0.7)


def test_without_originals_and_calibration_no_share_is_given(make):
    found = summarise([make.row(0, confidence=None, findings=[make.finding()])], make.census, make.conditions())
    assert found["method"] == "none" and found["overall"]["disclosed"]["share"] is None
    assert found["by_kind"][0]["right"] is None
    assert "nothing tells" in sentences(found)[0]


def test_kinds_stand_by_likely_right_then_by_severity(make):
    weak = [make.finding("iban", support=0.1), make.finding("time", support=0.2), make.finding("phone", support=0.9)]
    found = summarise([make.row(0, findings=weak)], make.census, make.conditions())
    assert [(kind["kind"], round(kind["right"])) for kind in found["by_kind"]] == [
        ("phone", 1),
        ("iban", 0),
        ("time", 0),
    ]
    unknown = [make.finding("time"), make.finding("iban")]
    found = summarise([make.row(0, confidence=None, findings=unknown)], make.census, make.conditions())
    assert [kind["kind"] for kind in found["by_kind"]] == ["iban", "time"]


def test_the_headline_says_how_many_records_were_looked_at(make):
    rows = [make.row(place, confidence=0.8) for place in range(4)]
    head = sentences(summarise(rows, make.census, make.conditions()))[0]
    assert "of the 100 records in this store, 4 of which were looked at, give away" in head
    whole = sentences(summarise(rows, Census({Stratum("tickets"): 4}), make.conditions()))[0]
    assert "of the 4 records in this store give away" in whole


def test_lengths_are_grouped_by_tokens(make):
    rows = [
        make.row(place, tokens=tokens, exact=tokens < 10, words=1.0, missed={})
        for place, tokens in enumerate((8, 9, 40, 200))
    ]
    found = summarise(rows, make.census, make.conditions())
    assert [(part["tokens"], part["exact"]["share"]) for part in found["by_length"]] == [
        ("1 to 8", 1.0), ("9 to 16", 1.0), ("33 to 64", 0.0), ("129 and more", 0.0),
    ]  # fmt: skip


def test_no_rows_make_a_report_too(make):
    found = summarise([], make.census, make.conditions(), complete=False)
    assert sentences(found) == ["No record was looked at."] and method(found) and changes(found)


def test_the_summary_says_what_was_not_looked_for(make):
    found = summarise([make.row(0)], make.census, make.conditions())
    assert any("not looked for" in sentence for sentence in sentences(found))
    named = summarise([make.row(0)], make.census, make.conditions(names_found=True))
    assert not any("not looked for" in sentence for sentence in sentences(named))


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("stores/acme", "stores/acme"),
        ("postgresql://bob:hunter2@db.example.com:5432/crm?sslkey=x", "postgresql://db.example.com:5432/crm"),
        ("https://example.com/v1?api_key=secret", "https://example.com/v1"),
        ("qdrant:http://user:pw@localhost:6333", "qdrant:http://localhost:6333"),
        ("http://[2001:db8::1]:6333/x", "http://[2001:db8::1]:6333/x"),
    ],
)
def test_passwords_and_keys_of_a_place_are_left_out(make, place, shown):
    assert without_credentials(place) == shown
    assert summarise([], make.census, make.conditions(place=place))["conditions"]["place"] == shown
