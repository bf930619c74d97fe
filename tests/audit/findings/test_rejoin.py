"""Spaces that decoding put into a text, taken back."""

import pytest

from unembed_audit.findings.rejoin import rejoin


@pytest.mark.parametrize(
    ("spread", "joined"),
    [
        ("write to jane. doe @ example. com today", "write to jane.doe@example.com today"),
        ("jane . doe @ mail . example . co . uk", "jane.doe@mail.example.co.uk"),
        ("call 212 - 555 - 0187.", "call 212-555-0187."),
        ("( 212 ) 555 - 0187", "(212) 555-0187"),
        ("paid $ 1, 200. 50 in cash", "paid $1,200.50 in cash"),
        ("1. 234, 56 eur", "1.234,56 eur"),
        ("due 2024 - 03 - 12 or 12 / 03 / 2024", "due 2024-03-12 or 12/03/2024"),
        ("at 9 : 30am", "at 9:30am"),
        ("from 192. 168. 1. 25", "from 192.168.1.25"),
        ("2001 : db8 : f3d5 : : f6", "2001:db8:f3d5::f6"),
        ("https : / / example. com / a / b1 ? x = 1", "https://example.com/a/b1?x=1"),
        ("invoice inv - 2024 - 0032", "invoice inv-2024-0032"),
        ("o ' neil ' s car", "o'neil's car"),
        ("pw : n $ portland * 82 . bye", "pw : n$portland*82. bye"),
        ("key sk _ live _ 4f2a9c", "key sk_live_4f2a9c"),
    ],
)
def test_what_decoding_spread_is_joined(spread, joined):
    assert rejoin(spread).text == joined


@pytest.mark.parametrize(
    "text",
    [
        "rooms 1, 2, 3 and 4 are free.",
        "we met in 2019. 20 people came",
        "he left at noon. she stayed",
        "yes, it is. com means communication",
        "a plain sentence, with marks; and more!",
    ],
)
def test_prose_stays_as_it_is(text):
    assert rejoin(text).text == text


def test_places_lead_back_to_the_original():
    text = "mail jane. doe @ example. com now"
    found = rejoin(text)
    start = found.text.index("jane")
    begin, end = found.original(start, start + len("jane.doe@example.com"))
    assert text[begin:end] == "jane. doe @ example. com"
    assert [text[place] for place in found.places] == list(found.text)
