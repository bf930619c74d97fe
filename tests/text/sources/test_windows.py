"""Training windows stay within passages, lengths and sentences."""

from itertools import pairwise

import pyarrow
import pyarrow.parquet
import pytest
import torch

from unembed.errors import ConfigError
from unembed_text.sources.windows import TextsConfig, Windows, read_windows

PASSAGES = ["one two three. four five six seven! eight", "alpha beta gamma delta", "x? y z w v u t s r q p o n m l"]


@pytest.fixture(scope="module")
def make(codec):
    def build(**changes) -> Windows:
        options = {"longest": 8, "shares": [1, 1], "anywhere": 0.0, "batch_tokens": 600} | changes
        return Windows(PASSAGES, codec.tokenizer, **options)

    return build


def texts(codec, batch: torch.Tensor) -> list[str]:
    return [" ".join(codec.tokenizer.convert_ids_to_tokens(row[row != 0])) for row in batch]


def draw(windows: Windows, count: int = 20) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return windows.batches(count, generator)


def test_windows_lie_within_one_passage(make, codec) -> None:
    whole = [" ".join(codec.tokenizer.tokenize(passage)) for passage in PASSAGES]
    for batch in draw(make(anywhere=0.5)):
        assert all(any(text in passage for passage in whole) for text in texts(codec, batch))


def test_windows_have_the_lengths_of_their_bucket_unless_the_passage_ends(make) -> None:
    lengths = set()
    for batch in draw(make()):
        assert batch.shape[1] in (4, 8)
        found = (batch != 0).sum(1)
        assert found.min() >= 1 and found.max() <= batch.shape[1]
        lengths |= set(found.tolist())
    assert lengths == set(range(1, 9))


def test_windows_start_at_sentences(make, codec) -> None:
    starts = {text.split()[0] for batch in draw(make()) for text in texts(codec, batch)}
    assert starts == {"one", "four", "eight", "alpha", "x", "y"}
    anywhere = {text.split()[0] for batch in draw(make(anywhere=1.0)) for text in texts(codec, batch)}
    assert len(anywhere) > 15


def test_spliced_windows_go_on_with_another_from_some_token_on(make, codec) -> None:
    whole = [codec.tokenizer.tokenize(passage) for passage in PASSAGES]

    def joins(text: str) -> int:
        """How many neighbours in a window aren't neighbours in any passage."""
        known = {pair for tokens in whole for pair in pairwise(tokens)}
        words = text.split()
        return sum(pair not in known for pair in pairwise(words))

    counts = [joins(text) for batch in draw(make(spliced=1.0)) for text in texts(codec, batch)]
    assert set(counts) == {0, 1}  # none where the cut lies past the end, or both are one
    assert not any(joins(text) for batch in draw(make()) for text in texts(codec, batch))


def test_spliced_windows_have_no_holes(make) -> None:
    for batch in draw(make(spliced=0.5, anywhere=0.5)):
        there = batch != 0
        assert there[:, 0].all() and not (there[:, 1:] & ~there[:, :-1]).any()


def test_windows_are_the_generators_alone(make) -> None:
    a, b = draw(make()), draw(make())
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_each_process_of_several_reads_a_share_of_the_passages(codec, monkeypatch, tmp_path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(PASSAGES))
    config = TextsConfig(name="x", embedder="x", train=[path], validation=[path], device="cpu", seed=0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    parts = []
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        parts.append(read_windows(config, codec.tokenizer, longest=8).tokens.tolist())
    encoded = [codec.tokenizer.encode(passage, add_special_tokens=False) for passage in PASSAGES]
    assert parts == [encoded[0] + encoded[2], encoded[1]]
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ConfigError, match="3 passages are too few for 4 processes"):
        read_windows(config, codec.tokenizer, longest=8)


def test_batches_of_each_range_are_as_many_as_its_share_says_in_any_process(make) -> None:
    windows = make(shares=[1, 0, 2, 5])
    for seed in range(20):
        lengths = [batch.shape[1] for batch in windows.batches(24, torch.Generator().manual_seed(seed))]
        counts = [lengths.count(length) for length in (2, 4, 6, 8)]
        assert counts[1] == 0 and all(abs(a - b) <= 1 for a, b in zip(counts, [3, 0, 6, 15], strict=True))


@pytest.fixture
def labelled(codec, tmp_path):
    path, plain = tmp_path / "texts.parquet", tmp_path / "plain.txt"
    rows = [("aa aa aa aa", "a/one")] * 90 + [("bb bb bb bb", "b")] * 8 + [("cc cc cc cc", "c/x")] * 2
    table = pyarrow.table({"text": [text for text, _ in rows], "source": [source for _, source in rows]})
    pyarrow.parquet.write_table(table, path)
    plain.write_text("dd dd dd dd")

    def read(**changes) -> Windows:
        common = {"name": "x", "embedder": "x", "train": [path, plain], "validation": [path], "device": "cpu"}
        config = TextsConfig(**common, seed=0, anywhere=0.3, batch_tokens=20_000, **changes)
        return read_windows(config, codec.tokenizer, longest=4)

    return read


def test_kinds_are_drawn_by_size_unless_told_otherwise(labelled, codec) -> None:
    names = [codec.tokenizer.convert_tokens_to_ids(name) for name in ("aa", "bb", "cc", "dd")]

    def shares(**changes) -> list[float]:
        first = torch.cat([batch[:, 0] for batch in draw(labelled(**changes), 8)])
        return [(first == name).float().mean().item() for name in names]

    for changes, wanted in (
        ({}, [90, 8, 2, 1]),
        ({"balance": 0.5}, [90**0.5, 8**0.5, 2**0.5, 1]),
        ({"balance": 0.0, "portions": {"c": 0.7}}, [0.1, 0.1, 0.7, 0.1]),
    ):
        assert shares(**changes) == pytest.approx([x / sum(wanted) for x in wanted], abs=0.03)


def test_portions_name_kinds_that_are_there(labelled) -> None:
    with pytest.raises(ConfigError, match=r"portions of \['news'\].*'a', 'b', 'c', 'plain'"):
        labelled(portions={"news": 0.5})


def test_ranges_of_lengths_may_differ(make) -> None:
    found = {batch.shape[1] for batch in draw(make(shares=[1, 1, 1], tops=[2, 3, 8]))}
    assert found == {2, 3, 8}
    with pytest.raises(ConfigError, match="one for each of the shares"):
        make(tops=[4, 4])
