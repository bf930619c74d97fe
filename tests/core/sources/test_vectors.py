"""Vector files of every kind, and every way in which one can be wrong."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from unembed.errors import InputError
from unembed.sources.vectors import read_vectors

ROWS = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=np.float32)


def write(path, rows=ROWS):
    if path.suffix == ".npy":
        np.save(path, rows)
    elif path.suffix == ".npz":
        np.savez(path, only=rows)
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({"text": ["a"] * len(rows), "vec": [list(map(float, r)) for r in rows]}), path)
    elif path.suffix == ".safetensors":
        save_file({"only": torch.from_numpy(np.ascontiguousarray(rows))}, path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows.tolist()))
    return path


KINDS = [".npy", ".npz", ".parquet", ".safetensors", ".jsonl"]


@pytest.mark.parametrize("kind", KINDS)
def test_read_vectors_of_every_kind(tmp_path, kind) -> None:
    found = read_vectors(write(tmp_path / f"v{kind}"))
    assert found.dtype == np.float32 and np.array_equal(found, ROWS)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32])
def test_read_vectors_of_other_number_types(tmp_path, dtype) -> None:
    assert np.array_equal(read_vectors(write(tmp_path / "v.npy", ROWS.astype(dtype))), ROWS)


def test_read_vectors_bfloat16(tmp_path) -> None:
    save_file({"v": torch.from_numpy(ROWS).bfloat16()}, tmp_path / "v.safetensors")
    assert np.array_equal(read_vectors(tmp_path / "v.safetensors"), ROWS)


def test_read_vectors_one_vector_is_one_row(tmp_path) -> None:
    assert read_vectors(write(tmp_path / "v.npy", ROWS[0])).shape == (1, 3)


def test_read_vectors_jsonl_objects(tmp_path) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text("".join(json.dumps({"id": i, "embedding": row}) + "\n\n" for i, row in enumerate(ROWS.tolist())))
    assert np.array_equal(read_vectors(path), ROWS)
    assert read_vectors(path, name="embedding").shape == (2, 3)


def test_read_vectors_by_name(tmp_path) -> None:
    np.savez(tmp_path / "v.npz", a=ROWS, b=ROWS * 2)
    assert np.array_equal(read_vectors(tmp_path / "v.npz", name="b"), ROWS * 2)
    with pytest.raises(InputError, match=r"several arrays \(a, b\)"):
        read_vectors(tmp_path / "v.npz")
    with pytest.raises(InputError, match="no array 'c'; it has a, b"):
        read_vectors(tmp_path / "v.npz", name="c")


def test_read_vectors_parquet_columns(tmp_path) -> None:
    path = write(tmp_path / "v.parquet")
    with pytest.raises(InputError, match="no column 'x'; it has vec"):
        read_vectors(path, name="x")
    with pytest.raises(InputError, match="column 'text' is string"):
        read_vectors(path, name="text")
    pq.write_table(pa.table({"text": ["a"]}), path)
    with pytest.raises(InputError, match="no column of vectors; it has text"):
        read_vectors(path)


def test_read_vectors_missing_file_or_folder(tmp_path) -> None:
    with pytest.raises(InputError, match="no file"):
        read_vectors(tmp_path / "v.npy")
    with pytest.raises(InputError, match="is a folder"):
        read_vectors(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_read_vectors_empty_file(tmp_path, kind) -> None:
    (tmp_path / f"v{kind}").write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        read_vectors(tmp_path / f"v{kind}")


@pytest.mark.parametrize("kind", KINDS)
def test_read_vectors_damaged_file(tmp_path, kind) -> None:
    (tmp_path / f"v{kind}").write_bytes(b"\x93nonsense that is none of these\xff")
    with pytest.raises(InputError, match=f"v{kind}"):
        read_vectors(tmp_path / f"v{kind}")


def test_read_vectors_unknown_kind_lists_the_known(tmp_path) -> None:
    (tmp_path / "v.doc").write_text("1,2")
    with pytest.raises(InputError, match=r"\.jsonl, .*\.npy, \.npz, \.parquet, .*\.safetensors, .* not '\.doc'"):
        read_vectors(tmp_path / "v.doc")


def test_read_vectors_never_unpickles(tmp_path) -> None:
    np.save(tmp_path / "v.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="can't be read"):
        read_vectors(tmp_path / "v.npy")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("[1, 2]\n[1]\n", "row 1 is 1 wide, the others 2"),
        ('[1, 2]\n["a", 2]\n', "row 1 isn't a list of numbers"),
        ("[1, 2]\nnope\n", "row 1 isn't JSON"),
        ('{"id": 3, "x": [1]}\n', "no field of vectors; it has id, x"),
        ('{"a": [1, 2], "b": [3, 4]}\n', r"several fields \(a, b\); say which"),
        ("\n\n", "holds no vectors"),
    ],
)
def test_read_vectors_wrong_lines_are_named(tmp_path, lines, message) -> None:
    (tmp_path / "v.jsonl").write_text(lines)
    with pytest.raises(InputError, match=message):
        read_vectors(tmp_path / "v.jsonl")


@pytest.mark.parametrize("rows", [np.zeros((2, 2, 2)), np.zeros((0, 3)), np.array(["a"])])
def test_read_vectors_wrong_shape_or_type(tmp_path, rows) -> None:
    with pytest.raises(InputError, match=r"shape|not numbers"):
        read_vectors(write(tmp_path / "v.npy", rows))


def test_what_is_no_npy_is_never_advised_to_be_unpickled(tmp_path) -> None:
    path = tmp_path / "bad.npy"
    path.write_text("not a vector")
    with pytest.raises(InputError, match=r"numpy\.save") as caught:
        read_vectors(path)
    assert "pickle" not in str(caught.value)
