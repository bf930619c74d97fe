"""Samples: random within a collection, the same for the same seed, the deleted by themselves."""

import numpy as np

from unembed import RecordBatch, SkippedRow
from unembed_audit.pipeline.sampling import Census, Stratum, draw, everything


def store(size=7):
    """Two collections of 1,000 and 40 records, 10 of the first deleted, in batches of `size`."""
    for name, first, count in (("big", 0, 1000), ("small", 1000, 40)):
        for start in range(0, count, size):
            rows = np.arange(start, min(count, start + size))
            yield RecordBatch(
                ids=[f"{name}-{row}" for row in rows],
                vectors=np.repeat((rows + first)[:, None], 3, 1).astype(np.float32),
                rows=rows + first,
                collection=name,
                deleted=(rows < 10) & (name == "big"),
                notes=("a note",),
                skipped=(SkippedRow(9999, "x", "holds NaN"),) if start == 0 else (),
            )


def test_each_stratum_gives_as_many_as_asked_or_all_it_has():
    census = Census()
    chosen = draw(store(), 50, seed=0, census=census)
    counts = {one: sum(record.stratum == one for record in chosen) for one in census.records}
    assert counts == {Stratum("big", True): 10, Stratum("big"): 50, Stratum("small"): 40}
    assert census.records == {Stratum("big", True): 10, Stratum("big"): 990, Stratum("small"): 40}
    assert census.skipped == 2 and census.notes == ["a note"]


def test_a_sample_depends_on_the_seed_and_not_on_the_batches():
    one, same, other = (
        [record.key for record in draw(store(size), 50, seed=seed, census=Census())]
        for size, seed in ((7, 0), (100, 0), (7, 1))
    )
    assert one == same and set(one) != set(other)


def test_a_record_keeps_its_vector_and_id():
    for record in draw(store(), 5, seed=3, census=Census()):
        assert record.vector.tolist() == [record.row] * 3
        assert record.id.endswith(str(record.row % 1000))


def test_every_record_is_as_likely_as_any_other():
    drawn = np.zeros(1000)
    for seed in range(60):
        for record in draw(store(100), 100, seed=seed, census=Census()):
            if record.stratum == Stratum("big"):
                drawn[record.row] += 1
    share = drawn[10:] / 60
    # 100 of 990 each time: half of the records against the other half, four standard deviations.
    assert abs(share[:495].mean() - share[495:].mean()) < 4 * np.sqrt(0.1 * 0.9 / (495 * 60) * 2)
    assert share.mean() == 100 / 990


def test_strata_take_turns():
    first = [record.stratum for record in draw(store(), 20, seed=0, census=Census())][:3]
    assert set(first) == {Stratum("big", True), Stratum("big"), Stratum("small")}


def test_everything_is_every_record_in_order():
    census = Census()
    assert [record.row for record in everything(store(), census)] == list(range(1040))
    assert sum(census.records.values()) == 1040


def test_records_of_another_width_are_skipped_and_counted():
    census = Census()
    chosen = draw(store(100), 50, seed=0, census=census, width=4)
    assert chosen == [] and census.skipped == 1040 + 2
    assert any("is 3 wide, not 4" in reason for reason in census.reasons)
    assert list(everything(store(100), Census(), width=4)) == []


def test_vectors_of_another_model_are_counted_and_left_out():
    def even(vectors):
        return vectors[:, 0] % 2 == 0

    for take in (
        lambda census: draw(store(), 2000, seed=0, census=census, belongs=even),
        lambda census: list(everything(store(), census, belongs=even)),
    ):
        census = Census()
        assert sorted(one.row for one in take(census)) == list(range(0, 1040, 2))
        assert census.foreign == 520 and census.records[Stratum("big", True)] == 5
