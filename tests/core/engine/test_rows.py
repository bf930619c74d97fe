"""The row helpers against plain Python."""

import pytest
import torch

from unembed.engine.rows import Chunked, Seen, best_of_each, counts, distinct, rank_within, row_hash


@pytest.fixture(params=range(5))
def rows(request):
    draw = torch.Generator().manual_seed(request.param)
    owner = torch.randint(4, (30,), generator=draw)
    key = torch.randint(6, (30,), generator=draw)
    return owner, key, torch.rand(30, generator=draw)


def test_row_hash_equal_for_equal_rows_only() -> None:
    draw = torch.Generator().manual_seed(0)
    signals = torch.randint(0, 3, (2000, 6), generator=draw)
    as_tuples = [tuple(row) for row in signals.tolist()]
    hashes = row_hash(signals).tolist()
    assert len(set(hashes)) == len(set(as_tuples))
    assert len({*zip(as_tuples, hashes, strict=True)}) == len(set(as_tuples))


def test_row_hash_floats_by_value_of_any_shape() -> None:
    images = torch.zeros(3, 2, 2)
    images[1] = -0.0
    images[2, 0, 0] = 1e-30
    a, b, c = row_hash(images).tolist()
    assert a == b != c


def test_row_hash_tells_apart_permuted_rows() -> None:
    a, b = row_hash(torch.tensor([[1, 2, 3], [3, 2, 1]])).tolist()
    assert a != b


def test_rank_within_counts_per_owner(rows) -> None:
    owner, _, _ = rows
    seen: dict[int, int] = {}
    wanted = []
    for name in owner.tolist():
        wanted.append(seen.get(name, 0))
        seen[name] = wanted[-1] + 1
    assert rank_within(owner).tolist() == wanted


def test_counts_are_of_all_owners(rows) -> None:
    owner, _, _ = rows
    assert counts(owner, 9).tolist() == [owner.tolist().count(name) for name in range(9)]


@pytest.mark.parametrize("most", [1, 3, 100])
def test_seen_lets_each_owner_meet_a_row_once(rows, most) -> None:
    owner, key, _ = rows
    seen, met = Seen(owner.device), set()
    left = torch.tensor([most, most + 1, 0, 100])
    for part in (slice(0, 11), slice(11, 11), slice(11, 12), slice(12, 30)):
        wanted, taken = [], [0] * 4
        for row, pair in enumerate(zip(owner[part].tolist(), key[part].tolist(), strict=True)):
            if pair not in met and taken[pair[0]] < left[pair[0]]:
                met.add(pair)
                taken[pair[0]] += 1
                wanted.append(row)
        assert seen.add_new(owner[part], key[part], left).tolist() == wanted
    assert seen.keys.tolist() == sorted(seen.keys.tolist()) and len(seen.keys) == len(met)


def test_distinct_points_back_to_the_first(rows) -> None:
    _, key, _ = rows
    first, which = distinct(key)
    assert key[first][which].tolist() == key.tolist()
    assert sorted(first.tolist()) == sorted({key.tolist().index(value) for value in key.tolist()})


@pytest.mark.parametrize("count", [1, 3, 100])
def test_best_of_each_sorts_owners_then_scores(rows, count) -> None:
    owner, _, score = rows
    wanted = []
    for name in sorted(set(owner.tolist())):
        mine = [i for i in range(len(owner)) if owner[i] == name]
        wanted += sorted(mine, key=lambda i: -score[i].item())[:count]
    assert best_of_each(owner, score, count).tolist() == wanted


def test_chunked_halves_when_memory_runs_out() -> None:
    sizes = []

    def function(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        if len(x) > 3:
            raise torch.OutOfMemoryError("too much")
        return x * 2

    chunked = Chunked(8)
    assert chunked(function, torch.arange(9)).tolist() == [2 * i for i in range(9)]
    assert sizes == [8, 4, 2, 2, 2, 2, 1]
    chunked(function, torch.arange(2))
    assert sizes[-1] == 2  # the smaller size stays


def test_chunked_passes_on_what_is_no_tensor() -> None:
    found = Chunked(2)(lambda x, count, y: x * count + y, torch.arange(5), 10, torch.ones(5))
    assert found.tolist() == [1, 11, 21, 31, 41]


def test_chunked_gives_up_at_one_row() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("too much")

    with pytest.raises(torch.OutOfMemoryError):
        Chunked(4)(function, torch.arange(9))


def test_row_hash_is_the_same_in_parts(monkeypatch) -> None:
    rows = torch.rand(11, 3, 2, generator=torch.Generator().manual_seed(0))
    whole = row_hash(rows)
    monkeypatch.setattr("unembed.engine.rows.HASHED", 13)
    assert torch.equal(row_hash(rows), whole) and len(torch.unique(whole)) == 11
