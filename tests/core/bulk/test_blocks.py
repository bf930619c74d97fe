"""Blocks: every vector in one, and those that are done left out, wherever reading begins."""

import numpy as np
import pytest

from unembed.bulk.blocks import GROUPS, block_size, blocks_of


def pieces(count, size, first=0):
    for start in range(first, count, size):
        rows = np.arange(start, min(start + size, count))
        yield start, [{"index": int(row)} for row in rows], rows[:, None].astype(np.float32)


@pytest.mark.parametrize("piece", [1, 3, 5, 7, 100])
@pytest.mark.parametrize("done", [(), (0,), (5, 10), (0, 5, 10, 15, 20), (20,)])
def test_blocks_hold_what_is_not_done(piece, done) -> None:
    found = list(blocks_of(pieces(23, piece), 5, done))
    assert [block.first for block in found] == [first for first in range(0, 23, 5) if first not in done]
    for block in found:
        wanted = list(range(block.first, min(block.first + 5, 23)))
        assert [head["index"] for head in block.heads] == block.vectors[:, 0].tolist() == wanted
        assert len(block) == len(wanted)


@pytest.mark.parametrize("first", range(11))
def test_reading_may_begin_within_a_block_that_is_done(first) -> None:
    found = list(blocks_of(pieces(23, 4, first), 5, {0, 5}))
    assert [block.first for block in found] == [10, 15, 20]
    assert [len(block) for block in found] == [5, 5, 3]


def test_a_block_is_a_whole_number_of_groups() -> None:
    assert block_size(None, 64) == block_size(0, 64) == block_size(10_000, 64) == 64
    assert block_size(1_000_000, 64) == 64 * 15
    assert block_size(10**9, 64) == 64 * GROUPS
    assert all(block_size(count, 7) % 7 == 0 for count in range(0, 200_000, 999))
