"""Recovered beside original."""

import pytest

from unembed_audit.findings.detect import detect
from unembed_audit.findings.finding import Finding
from unembed_audit.pipeline.comparing import compare


def compared(recovered, original):
    return compare(recovered, detect(recovered), original, detect(original))


def test_a_moved_word_leaves_every_fact_right():
    found = compared("refund $ 1, 200 to account 0032944244 of mary", "Refund of mary: $1,200 to account 0032944244")
    assert found.right == (True, True) and found.missed == {} and found.words == 1


def test_a_wrong_digit_is_a_wrong_finding_and_a_missed_one():
    found = compared("call 212-555-0188 today", "Call 212-555-0187 today!")
    assert found.right == (False,) and found.missed == {"phone": 1}


def test_a_number_is_not_right_for_being_part_of_another():
    found = compare("flight 12", [Finding("id", 7, 9, "12", 0.9)], "flight 5126", [])
    assert found.right == (False,)


def test_accents_and_case_are_nothing_an_uncased_model_sees():
    found = compare("jose was here", [Finding("name", 0, 4, "jose", 0.9)], "José was here", [])
    assert found.right == (True,) and found.words == 1


@pytest.mark.parametrize(("recovered", "share"), [("one two", 0.5), ("", 0.0), ("four three two one one", 1.0)])
def test_the_share_of_words(recovered, share):
    assert compare(recovered, [], "one two three four", []).words == share
