"""Names in ordinary text: labelled where they are sure, left alone where they aren't."""

from unembed_audit.tagger.examples import Example
from unembed_audit.tagger.labels import OUTSIDE, UNSURE, begin, inside
from unembed_audit.tagger.silver import KnownNames, known_names, silver_sentences

B, I = begin("name"), inside("name")  # noqa: E741
KNOWN = KnownNames(frozenset({"sarah", "mark", "jordan"}), frozenset({"webb", "hill"}), frozenset({"mark", "jordan"}))


def labelled(text):
    return [list(zip(one.words, one.tags, strict=True)) for one in silver_sentences([text], KNOWN)]


def test_a_known_first_name_with_what_follows_is_a_name():
    ((*found,),) = labelled("yesterday Sarah Webb called the office .")
    assert found[:4] == [("yesterday", OUTSIDE), ("sarah", B), ("webb", I), ("called", OUTSIDE)]


def test_a_title_makes_a_name_of_what_follows():
    ((*found,),) = labelled("please ask Dr. Quarshie about it today.")
    assert [tag for _, tag in found] == [OUTSIDE, OUTSIDE, B, I, I, OUTSIDE, OUTSIDE, OUTSIDE, OUTSIDE]


def test_other_capitals_and_numbers_are_unsure():
    ((*found,),) = labelled("then Sarah Webb flew to Lisbon with Acme on 12 flights")
    tags = dict(found)
    assert tags["lisbon"] == tags["acme"] == tags["12"] == UNSURE and tags["flew"] == OUTSIDE


def test_a_name_that_is_a_word_too_needs_a_surname():
    assert labelled("we saw Mark in the street today") == []
    ((*found,),) = labelled("we saw Mark Hill in the street")
    assert ("mark", B) in found and ("hill", I) in found


def test_sentences_without_a_sure_name_are_left_out():
    assert labelled("The Brown Fox Company sells shoes to all of us.") == []


def test_known_names_come_from_records_and_lists_and_know_what_else_they_are():
    record = Example(("ann", "lee", "of", "paris"), (B, I, OUTSIDE, begin("place")))
    passages = ["a rose by any other name " * 20]
    found = known_names([record], [("rose", "kent"), ("i", "robot")], passages)
    assert found.first == {"ann", "rose"} and found.last == {"lee", "kent"}
    assert {"paris", "rose"} <= found.other
