"""Invented records: spans where they say, the same for the same seed, nothing that could be real."""

from itertools import islice

import pytest
from stdnum import luhn

from unembed_audit.findings.kinds import KINDS
from unembed_audit.invented import chunks, invented


@pytest.mark.parametrize("records", [invented(3), invented(3, long=True), chunks(3, 60)])
def test_spans_are_where_they_say(records):
    for one in islice(records, 60):
        assert one.spans and "{" not in one.text
        assert all(kind in KINDS and one.text[start:end].strip() for start, end, kind in one.spans)
        assert list(one.spans) == sorted(one.spans)
        assert one.values("name") == [one.text[start:end] for start, end, kind in one.spans if kind == "name"]


def test_a_seed_gives_the_same_records_and_another_gives_others():
    first, again, other = (list(islice(invented(seed), 20)) for seed in (1, 1, 2))
    assert first == again != other


def test_chunks_have_the_words_that_are_asked_for():
    assert all(len(one.text.split()) >= 90 for one in islice(chunks(0, 90), 5))


def test_card_numbers_fail_their_check_and_addresses_are_reserved():
    many = [one for seed in range(4) for one in islice(invented(seed, long=bool(seed % 2)), 200)]
    cards = [value.replace(" ", "") for one in many for value in one.values("card")]
    assert cards and not any(luhn.is_valid(card) for card in cards)
    assert all("example." in value for one in many for value in one.values("email"))
