"""The page: complete, without anything from elsewhere, and with hostile texts that stay texts."""

import re
from html.parser import HTMLParser

import pytest

from unembed_audit.report.page import page
from unembed_audit.report.summary import summarise
from unembed_audit.report.words import percent


class Elements(HTMLParser):
    """Collects tags with their attributes, and the text of tags that could load or run something."""

    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


@pytest.fixture
def hostile(make):
    rows = [
        make.row(0, id=make.hostile, text=make.hostile, collection=make.hostile, exact=False, words=0.5, missed={},
                 findings=[make.finding(right=True, value=make.hostile)], confidence=0.5),
        make.row(1, exact=True, words=1.0, missed={}),
    ]  # fmt: skip
    given = make.conditions(place=make.hostile, kind=make.hostile, identified=make.hostile, notes=(make.hostile,))
    return page(summarise(rows, make.census, given))


def test_hostile_texts_stay_texts(hostile):
    parser = Elements()
    parser.feed(hostile)
    tags = {tag for tag, _ in parser.tags}
    assert not tags & {
        "script",
        "img",
        "iframe",
        "object",
        "embed",
        "link",
        "form",
        "a",
        "base",
        "foreignobject",
        "use",
    }
    assert not any(name.startswith("on") for _, attributes in parser.tags for name in attributes)
    assert "{{ 7 * 7 }}" in hostile and "&lt;script&gt;alert(1)" in hostile


def test_the_page_loads_nothing(hostile):
    parser = Elements()
    parser.feed(hostile)
    loading = {"src", "href", "xlink:href", "srcset", "data", "action", "background", "poster"}
    assert not [found for _, found in parser.tags if loading & set(found)]
    styles = "".join(re.findall(r"<style.*?</style>", hostile, re.DOTALL))
    assert "url(" not in styles and "@import" not in styles
    policy = next(found["content"] for tag, found in parser.tags if tag == "meta" and found.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_every_section_is_there_and_charts_have_words(make):
    rows = [make.row(place, exact=place % 2 == 0, words=0.5, missed={}) for place in range(6)]
    found = page(summarise(rows, make.census, make.conditions()))
    for section in (
        "summary",
        "kinds",
        "collections",
        "lengths",
        "deleted",
        "examples",
        "conditions",
        "change",
        "mappings",
    ):
        assert f'<section id="{section}">' in found
    assert found.count('role="img" aria-label=') == 2 and found.count("<figcaption>") == 2
    for entry in ("LLM09:2026", "AML.T0024", "AML.T0036", "CWE-200", "NIST AI 100-2"):
        assert entry in found


def test_row_numbers_are_not_called_the_store_s_ids(make):
    rows = [make.row(place, exact=True, words=1.0, missed={}) for place in range(2)]
    assert "Ids are the store's own" in page(summarise(rows, make.census, make.conditions()))
    numbered = page(summarise([{**row, "id": str(row["row"])} for row in rows], make.census, make.conditions()))
    assert "Ids are the store's own" not in numbered and "by the numbers of their rows" in numbered


def test_a_report_of_nothing_and_one_that_ended_early_are_pages_too(make):
    found = page(summarise([], make.census, make.conditions(), complete=False))
    assert "ended early" in found and "No record was looked at" in found


def test_two_charts_of_one_page_have_names_of_their_own(make):
    found = page(summarise([make.row(0)], make.census, make.conditions()))
    names = re.findall(r'<svg[^>]* id="([^"]+)"', found)
    assert len(names) == 2 == len(set(names))


def test_drawing_leaves_no_finder_behind_that_later_imports_warn_of(make):
    import sys

    page(summarise([make.row(0)], make.census, make.conditions()))
    assert all(hasattr(finder, "find_spec") for finder in sys.meta_path)


def test_the_page_says_how_to_try_defences_on_that_store(make):
    known, unknown = [make.row(0, exact=True, words=1.0, missed={})], [make.row(0, confidence=0.5)]
    found = page(summarise(known, make.census, make.conditions(place="my store")))
    assert "<code>unembed defend --data &#39;my store&#39; --inverter minilm</code>." in found
    found = page(summarise(unknown, make.census, make.conditions()))
    assert "<code>unembed defend --data TEXTS --inverter minilm</code>, with TEXTS like those" in found


def test_no_share_short_of_all_is_rounded_to_all():
    shares = {0.0: "0 %", 0.004: "0.4 %", 0.5: "50 %", 0.994: "99 %", 0.996: "over 99 %", 1.0: "100 %"}
    assert {share: percent(share) for share in shares} == shares
