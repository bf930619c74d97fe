"""Spans with a format, in lower case and as decoded; each case names the kind and the span, or none."""

import pytest

from unembed_audit.findings.detect import detect, detect_all
from unembed_audit.findings.finding import Finding, settle

# Real card test numbers and example IBANs of their issuers' documentation, 555-01xx numbers, example domains.
FOUND = [
    ("email", "please write to jane. doe @ example. com", "jane. doe @ example. com"),
    ("phone", "call 212 - 555 - 0187 after five", "212 - 555 - 0187"),
    ("phone", "ring +44 20 7946 0368 today", "+44 20 7946 0368"),
    ("card", "card 4111 1111 1111 1111 was used", "4111 1111 1111 1111"),
    ("card", "paid with card ending in 2222", "card ending in 2222"),
    ("iban", "pay to de89 3704 0044 0532 0130 00 by friday", "de89 3704 0044 0532 0130 00"),
    ("account", "debit account 0032944244 on monday", "0032944244"),
    ("date", "born on 12 / 03 / 1984 in leeds", "12 / 03 / 1984"),
    ("date", "due march 9th , 2024 at the latest", "march 9th , 2024"),
    ("date", "the 14th of november", "the 14th of november"),
    ("time", "meet at 6 : 15 pm", "6 : 15 pm"),
    ("amount", "a refund of $ 1, 200. 50 was made", "$ 1, 200. 50"),
    ("amount", "it costs 4, 71 kr", "4, 71 kr"),
    ("dose", "take ibuprofen 400 mg twice", "400 mg"),
    ("ip", "login from 203. 0. 113. 7 failed", "203. 0. 113. 7"),
    ("ip", "seen at 2001:db8:f3d5::f6 again", "2001:db8:f3d5::f6"),
    ("url", "see https://example.com/docs/18851 please", "https://example.com/docs/18851"),
    ("address", "send it to 36 sunset road, flat 18 please", "36 sunset road, flat 18"),
    ("address", "lives at lindenstraße 12, 10115 berlin now", "lindenstraße 12, 10115 berlin"),
    ("id", "invoice re - 52402 is open", "re - 52402"),
    ("id", "ssn 078-05-1120 on file", "078-05-1120"),
    ("secret", "the wifi password is hunter2bunny", "hunter2bunny"),
    ("secret", "token ghp_examples22fpyroa58 leaked", "ghp_examples22fpyroa58"),
    ("secret", "postgres://app:iluwlfn4j6tx@db.example.com:5432/crm", "iluwlfn4j6tx"),
    ("secret", "the alarm code of the warehouse is now 9036", "9036"),
    ("secret", "leaked s.girard@example.org and july_29 in march", "july_29"),
    ("secret", "he logged in with e$tuesday*71 from home", "e$tuesday*71"),
    ("secret", "secret exposed: 5ef669f30b78b78ffa718d797b52a61e by mistake", "5ef669f30b78b78ffa718d797b52a61e"),
    ("id", "the sample 21bf0b89 was sent to the vendor", "21bf0b89"),
    ("id", "her cpf is 916.939.243-00 now", "916.939.243-00"),
    ("id", "invoice to the bakery, de000003859", "de000003859"),
    ("user", "password reset for user j_brandt83", "j_brandt83"),
]


@pytest.mark.parametrize(("kind", "text", "span"), FOUND, ids=[f"{kind}-{span}" for kind, _, span in FOUND])
def test_a_span_with_a_format_is_found(kind, text, span):
    assert (kind, span) in [(one.kind, text[one.start : one.end]) for one in detect(text)]


@pytest.mark.parametrize(
    "text",
    [
        "the meeting was moved to the large room because the small one is full",
        "he may march with us in the second row",
        "a 55 - year - old man with a cough",
        "please pass the salt to the team",
        "version 3. 2 is better than version 3",
        "she said that the code of conduct applies",
        "chapter 12 has 340 pages in 2 parts",
        "the secret was exposed: nobody knew of it",
        "we meet in room#1234 on the ground floor",
        "a sample of 12 patients from the r&d department",
    ],
)
def test_ordinary_text_gives_nothing_away(text):
    assert detect(text) == []


def test_a_check_digit_that_fits_makes_it_surer():
    (right,), (wrong,) = detect_all(["iban gb82 west 1234 5698 7654 32", "iban gb83 west 1234 5698 7654 32"])
    assert (right.by, wrong.by) == ("checksum", "format")
    assert right.score > wrong.score


def test_an_iban_ends_before_the_words_after_it():
    (found,) = detect("gb82 west 1234 5698 7654 32 from mary")
    assert found.value == "gb82 west 1234 5698 7654 32"


def test_a_value_is_without_the_spaces_of_decoding():
    (found,) = detect("jane. doe @ example. com")
    assert found.value == "jane.doe@example.com"


def test_a_tagger_sees_rejoined_texts_and_its_places_are_mapped_back():
    seen = []

    def tag(texts):
        seen.extend(texts)
        return [
            [Finding("name", text.index("o'neil"), text.index("o'neil") + 6, "o'neil", 0.9, "tagger")] for text in texts
        ]

    text = "ask o ' neil"
    ((found,),) = detect_all([text], tag=tag)
    assert seen == ["ask o'neil"]
    assert text[found.start : found.end] == "o ' neil"


def test_of_overlapping_findings_the_surest_stays_then_the_longest():
    short, long, sure = Finding("id", 0, 4, "", 0.7), Finding("phone", 0, 9, "", 0.7), Finding("card", 8, 12, "", 0.9)
    assert settle([short, long]) == [long]
    assert settle([short, long, sure]) == [short, sure]


def test_empty_texts_have_no_findings():
    assert detect_all(["", " "]) == [[], []]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("the new password for amit farrukh is tulip-pepper-36", "secret", "tulip-pepper-36"),
        ("opened with the key thunder-falcon-31 by her", "secret", "thunder-falcon-31"),
        ("please lock the account eeskildsen1 today", "user", "eeskildsen1"),
    ],
)
def test_what_stands_before_a_value_may_be_a_few_words_away(text, kind, value):
    assert (kind, value) in [(one.kind, one.value) for one in detect(text)]
