"""Passages from text and parquet files."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unembed.errors import InputError
from unembed.sources.passages import read_passages


def test_read_passages_one_a_line(tmp_path) -> None:
    (tmp_path / "p.txt").write_text("one\n\n  two \n", encoding="utf-8")
    assert read_passages(tmp_path / "p.txt") == ["one", "two"]


def test_read_passages_of_a_column(tmp_path) -> None:
    pq.write_table(pa.table({"text": ["one", None, ""], "other": ["a", "b", "c"]}), tmp_path / "p.parquet")
    assert read_passages(tmp_path / "p.parquet") == ["one"]
    assert read_passages(tmp_path / "p.parquet", column="other") == ["a", "b", "c"]
    with pytest.raises(InputError, match="no column 'x'; it has text, other"):
        read_passages(tmp_path / "p.parquet", column="x")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.txt", b"", "no passages"),
        ("p.txt", b"\xff\xfe", "isn't UTF-8"),
        ("p.parquet", b"nonsense", "isn't a readable parquet"),
        ("p.csv", b"a", "not '.csv'"),
    ],
)
def test_read_passages_wrong_files(tmp_path, name, content, message) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_passages(tmp_path / name)


def test_read_passages_missing_file(tmp_path) -> None:
    with pytest.raises(InputError, match="no file"):
        read_passages(tmp_path / "p.txt")
