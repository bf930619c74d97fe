"""SARIF: the fields that the standard and GitHub ask for, and nothing of the texts."""

import json
import re
import runpy
from pathlib import Path

import pytest
from jsonschema import Draft7Validator, ValidationError

from unembed_audit.report.sarif import sarif
from unembed_audit.report.summary import summarise


@pytest.fixture
def report(make):
    iban = make.finding("iban", right=True, value="gb82 west")
    rows = [
        make.row(0, exact=True, words=1.0, missed={}, findings=[make.finding(right=True), iban]),
        make.row(1, exact=False, words=0.5, missed={}, collection="notes", findings=[make.finding(right=True)]),
        make.row(2, exact=False, words=0.5, missed={}, findings=[make.finding("ip", right=False)]),
    ]  # fmt: skip
    return summarise(rows, make.census, make.conditions(place="stores/my acme"))


def test_one_result_a_collection_and_kind(report):
    (run,) = sarif(report)["runs"]
    found = sorted((one["properties"]["collection"], one["ruleId"]) for one in run["results"])
    assert found == [("notes", "phone"), ("tickets", "iban"), ("tickets", "phone"), ("tickets", "whole-text")]


def test_what_the_standard_requires_is_there(report):
    log = sarif(report)
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert run["tool"]["driver"]["name"]
    for rule in rules:
        assert {
            "id",
            "name",
            "shortDescription",
            "fullDescription",
            "help",
            "defaultConfiguration",
            "properties",
        } == set(rule)
        assert re.fullmatch(r"\d{1,2}\.\d", rule["properties"]["security-severity"])
        assert len(rule["properties"]["tags"]) <= 10 and rule["help"]["markdown"] and rule["help"]["text"]
        assert rule["defaultConfiguration"]["level"] in ("error", "warning", "note")
        assert rule["name"].isalnum()
    for one in run["results"]:
        assert rules[one["ruleIndex"]]["id"] == one["ruleId"]
        assert one["message"]["text"].endswith(".")
        (location,) = one["locations"]
        place = location["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "stores/my%20acme" and place["region"]["startLine"] == 1
        assert (one["kind"], one["level"]) == ("fail", one["level"]) and one["level"] != "none"
    prints = [one["partialFingerprints"]["primaryLocationLineHash"] for one in run["results"]]
    assert len(set(prints)) == len(prints)


def schema():
    path = Path(__file__).parent / "sarif_schema.py"
    return Draft7Validator(runpy.run_path(str(path))["SCHEMA"])


def test_a_log_fits_the_schema_whatever_is_in_it(report, make):
    unknown = summarise([make.row(0, confidence=None, findings=[make.finding()])], make.census, make.conditions())
    hostile = summarise(
        [make.row(0, exact=True, words=1.0, missed={}, collection=make.hostile)],
        make.census,
        make.conditions(place=make.hostile),
    )
    nothing = summarise([], make.census, make.conditions(), complete=False)
    for one in (report, unknown, hostile, nothing):
        schema().validate(sarif(one))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda run: run.pop("tool"),
        lambda run: run["results"][0].pop("message"),
        lambda run: run["results"][0].update(level="critical"),
        lambda run: run["results"][0].update(extra=1),
    ],
)
def test_the_schema_refuses_what_the_standard_does(report, spoil):
    log = sarif(report)
    spoil(log["runs"][0])
    with pytest.raises(ValidationError):
        schema().validate(log)


def test_fingerprints_stay_from_run_to_run(report):
    first, second = (
        [one["partialFingerprints"] for one in sarif(one)["runs"][0]["results"]] for one in (report, report)
    )
    assert first == second


def test_no_text_is_in_it(report):
    assert "gb82" not in json.dumps(sarif(report)) and "212-555" not in json.dumps(sarif(report))


def test_what_nothing_tells_of_is_for_review_and_not_a_failure(make):
    unknown = summarise([make.row(0, confidence=None, findings=[make.finding()])], make.census, make.conditions())
    (one,) = sarif(unknown)["runs"][0]["results"]
    assert (one["kind"], one["level"]) == ("review", "none")


@pytest.mark.parametrize(
    ("place", "uri"),
    [("/var/lib/acme/chroma", "chroma"), ("../up/store.db", "store.db"), ("postgresql://bob:pw@db/crm", "db/crm")],
)
def test_a_location_is_relative_and_holds_no_password(make, place, uri):
    found = sarif(summarise([make.row(0, exact=True, words=1.0, missed={})], make.census, make.conditions(place=place)))
    (one,) = found["runs"][0]["results"]
    assert one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri
