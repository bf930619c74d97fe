"""Tagged words from records, and sentences that name nobody."""

import random
from pathlib import Path

import pytest

from unembed.errors import InputError
from unembed_audit.tagger.examples import (
    Example,
    Record,
    plain_sentences,
    read_records,
    split_kinds,
    tagged,
    windows,
)
from unembed_audit.tagger.labels import OUTSIDE, TAGS, begin, inside, mended, spans_of


def test_tags_are_unique_and_two_a_kind():
    assert len(TAGS) == len(set(TAGS)) == 2 * 21 + 1 and TAGS[OUTSIDE] == "O"


def test_a_record_becomes_words_with_tags():
    record = Record("Ring Zoë O'Neil, 212-555-0187", "records/ticket", ((5, 15, "name"), (17, 29, "phone")))
    found = tagged(record)
    assert found.words == ("ring", "zoe", "o", "'", "neil", ",", "212", "-", "555", "-", "0187")
    assert spans_of(found.tags) == [(1, 5, "name"), (6, 11, "phone")]


def test_neighbouring_spans_of_a_kind_stay_apart():
    found = tagged(Record("Ann Lee Bob", "x", ((0, 7, "name"), (8, 11, "name"))))
    assert spans_of(found.tags) == [(0, 2, "name"), (2, 3, "name")]


def test_an_inside_without_a_beginning_is_mended():
    tags = [inside("name"), inside("name"), OUTSIDE, inside("org"), inside("name")]
    assert mended(tags) == [begin("name"), inside("name"), OUTSIDE, begin("org"), begin("name")]


def test_kinds_held_out_are_not_learnt_from():
    records = [Record("a", f"records/{kind}", ()) for kind in ("bank", "ticket", "bank")]
    learn, test = split_kinds(records, ("bank",))
    assert [one.source for one in learn] == ["records/ticket"] and len(test) == 2


def test_sentences_that_may_name_somebody_are_left_out():
    passage = "We saw Mary in the park. The park was green and wide. He paid 20 for it. "
    passage += "I think I will go there. no capital here."
    found = [" ".join(one.words) for one in plain_sentences([passage])]
    assert found == ["the park was green and wide .", "i think i will go there ."]


def test_a_window_is_a_stretch_of_the_example():
    example = Example(tuple("abcdefgh"), tuple(range(8)))
    found = windows(example, 3, random.Random(0))
    assert len(found.words) == 3 and "".join(found.words) in "abcdefgh"
    assert windows(example, 8, random.Random(0)) is example


def test_a_file_without_the_columns_is_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    parquet.write_table(pa.table({"text": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="source, spans"):
        list(read_records(tmp_path / "x.parquet"))


@pytest.mark.reference
def test_the_spans_of_real_records_survive():
    path = Path(__file__).parents[4] / "shared" / "data" / "text" / "records.parquet"
    for record in read_records(path, limit=200):
        kinds = [kind for _, _, kind in sorted(record.spans)]
        assert [kind for _, _, kind in spans_of(tagged(record).tags)] == kinds
