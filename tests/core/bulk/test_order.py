"""Which records come, and in which order: any number of passes gives the same as sorting all of them."""

import numpy as np
import pytest

from unembed.bulk import order
from unembed.bulk.order import Order, Selection, order_of
from unembed.errors import InputError
from unembed.sources.records import RecordBatch

COUNT, WIDTH = 50, 3
DELETED = np.arange(COUNT) % 7 == 3
SIZES = [None if n % 9 == 4 else (n * 31) % 17 for n in range(COUNT)]


def reader(size=8, count=COUNT, values=SIZES, passes=None):
    """Records whose vectors hold their numbers, in batches of `size`."""

    def read():
        if passes is not None:
            passes.append(1)
        for first in range(0, count, size):
            rows = np.arange(first, min(first + size, count))
            vectors = np.repeat(rows[:, None], WIDTH, 1).astype(np.float32)
            payloads = [None if values[row] is None else {"size": values[row], "other": 1} for row in rows]
            batch = RecordBatch(
                [str(row) for row in rows], vectors, rows, payloads=payloads, deleted=DELETED[rows % COUNT]
            )
            yield [{"index": int(row)} for row in rows], batch

    return read


def numbers(selection, read, first=0):
    """The records in order, as their places say; heads and vectors belong together."""
    found = {}
    for place, heads, vectors in selection.pieces(read, first):
        assert [head["index"] for head in heads] == vectors[:, 0].tolist() == vectors[:, 2].tolist()
        for offset, head in enumerate(heads):
            assert place + offset not in found
            found[place + offset] = head["index"]
    assert list(found) == list(range(min(found), min(found) + len(found)))
    return list(found.values())


def by_size(descending=False):
    known = [n for n in range(COUNT) if SIZES[n] is not None]
    known.sort(key=lambda n: -SIZES[n] if descending else SIZES[n])
    return known + [n for n in range(COUNT) if SIZES[n] is None]


EXPECTED = {
    "stored": list(range(COUNT)),
    "deleted": [*np.flatnonzero(DELETED).tolist(), *np.flatnonzero(~DELETED).tolist()],
    "by:size": by_size(),
    "by:-size": by_size(descending=True),
}


@pytest.mark.parametrize("held", [1, 6, 10**6])
@pytest.mark.parametrize("name", EXPECTED)
def test_an_order_is_that_of_sorting_everything(name, held, monkeypatch) -> None:
    monkeypatch.setattr(order, "HELD", held * WIDTH * 4)
    selection = Selection(order_of(name))
    assert numbers(selection, reader()) == EXPECTED[name] and selection.total == COUNT


@pytest.mark.parametrize("size", [1, 8, 64])
def test_a_random_order_has_everything_once_and_hangs_on_the_seed_alone(size) -> None:
    found = numbers(Selection(Order("random"), seed=1), reader(size))
    assert sorted(found) == list(range(COUNT)) and found != list(range(COUNT))
    assert found == numbers(Selection(Order("random"), seed=1), reader())
    assert found != numbers(Selection(Order("random"), seed=2), reader())


def test_a_random_order_favours_no_place() -> None:
    first = [numbers(Selection(Order("random"), sample=1, seed=seed), reader())[0] for seed in range(2000)]
    counts = np.bincount(first, minlength=COUNT)
    assert ((counts - 2000 / COUNT) ** 2).sum() / (2000 / COUNT) < 90  # chi squared, 49 degrees of freedom: p = 0.0003


@pytest.mark.parametrize("name", [*EXPECTED, "random"])
def test_a_sample_is_part_of_a_larger_one_and_of_the_order(name) -> None:
    every = numbers(Selection(order_of(name), seed=3), reader())
    few, more = (numbers(Selection(order_of(name), size, seed=3), reader()) for size in (7, 20))
    assert len(few) == 7 and len(more) == 20 and set(few) < set(more)
    assert few == [n for n in every if n in few] and more == [n for n in every if n in more]
    assert numbers(Selection(order_of(name), 200, seed=3), reader()) == every


def test_a_sample_is_chosen_among_far_more_than_are_held() -> None:
    count = 200_000
    found = numbers(Selection(Order(), 10, seed=0), reader(1000, count, [None] * count))
    priority = order._mixed(np.arange(count), 0)
    assert found == sorted(np.argsort(priority)[:10].tolist())


def test_texts_are_ordered_by_their_bytes_and_numbers_before_them_are_refused() -> None:
    names = [None, "b", "a", "é", "a" * 40 + "2", "a" * 40 + "1"]
    found = numbers(Selection(order_of("by:size")), reader(2, 6, names))
    assert found == [2, 4, 5, 1, 3, 0]
    with pytest.raises(InputError, match="texts and numbers"):
        numbers(Selection(order_of("by:size")), reader(2, 6, [1, 2, 3, "a", 4, 5]))


def test_a_field_that_no_record_has_is_said_with_those_that_they_have() -> None:
    with pytest.raises(InputError, match="no record has that field; they have other, size"):
        numbers(Selection(order_of("by:colour")), reader())


@pytest.mark.parametrize("name", ["shortest", "by:", "by:-", "stored:x", ""])
def test_an_unknown_order_lists_the_known(name) -> None:
    with pytest.raises(InputError, match="stored, random, deleted, by:FIELD"):
        order_of(name)


def test_passes_are_as_few_as_the_order_allows(monkeypatch) -> None:
    monkeypatch.setattr(order, "HELD", 10 * WIDTH * 4)
    for name, wanted in (("stored", 1), ("deleted", 3), ("random", 6)):
        passes = []
        numbers(Selection(order_of(name)), reader(passes=passes))
        assert len(passes) == wanted, name


@pytest.mark.parametrize("first", [0, 9, 10, 33, 50])
def test_going_on_reads_no_more_than_it_must(first, monkeypatch) -> None:
    monkeypatch.setattr(order, "HELD", 10 * WIDTH * 4)
    passes = []
    every = numbers(Selection(Order("random")), reader())
    selection = Selection(Order("random"))
    if first == COUNT:
        assert list(selection.pieces(reader(passes=passes), first)) == []
    else:
        found = numbers(selection, reader(passes=passes), first)
        assert found == every[first // 10 * 10 :]
    assert len(passes) == 1 + 5 - first // 10


def test_a_source_that_shrinks_is_an_error() -> None:
    counts = iter([50, 40])
    with pytest.raises(InputError, match="changed while it was read"):
        numbers(Selection(Order("random")), lambda: reader(count=next(counts))())
