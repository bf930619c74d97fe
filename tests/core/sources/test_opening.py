"""Opening sources of every kind of file, and what bad ones say."""

import base64
import csv
import gzip
import json
import os
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import unembed
from unembed.errors import InputError

ROWS = (np.random.default_rng(0).normal(size=(40, 24)) * 0.05).astype(np.float32)
LISTS = [[float(value) for value in row] for row in ROWS]
TEXTS = [[float(f"{value:.9g}") for value in row] for row in ROWS]
NAMES = [f"rec-{n:02d}" for n in range(40)]
NOTES = [f"note {n}" for n in range(40)]


def everything(source, size: int = 7):
    """Ids, vectors, texts, rows of a source, read in small batches."""
    ids, vectors, texts, rows = [], [], [], []
    for batch in source.batches(size):
        assert len(batch) <= size
        ids += list(batch.ids)
        vectors.append(batch.vectors)
        texts += [None] * len(batch) if batch.texts is None else list(batch.texts)
        rows += batch.rows.tolist()
    return ids, np.concatenate(vectors), texts, rows


def as_bytes(dtype: str) -> list[bytes]:
    return [row.astype(dtype).tobytes() for row in ROWS]


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def jsonl(rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(**columns) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": NAMES, "text": NOTES, **columns}), sink)
    return sink.getvalue().to_pybytes()


def stream(vectors, *, file: bool = False) -> bytes:
    sink = pa.BufferOutputStream()
    made = pa.table({"id": NAMES, "text": NOTES, "embedding": vectors})
    with (pa.ipc.new_file if file else pa.ipc.new_stream)(sink, made.schema) as writer:
        writer.write_table(made, max_chunksize=13)
    return sink.getvalue().to_pybytes()


def openai(values) -> dict:
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": n, "embedding": v} for n, v in enumerate(values)],
    }


def separated(rows, delimiter: str = ",") -> str:
    lines = []

    class Sink:
        def write(self, text: str) -> None:
            lines.append(text)

    csv.writer(Sink(), delimiter=delimiter).writerows(rows)
    return "".join(lines)


def copied() -> str:
    rows = "\n".join(f"{n}\t{t}\t[{','.join(map(repr, v))}]" for n, t, v in zip(NAMES, NOTES, LISTS, strict=True))
    return f"-- dump\nCREATE TABLE t (id text);\nCOPY public.t (id, body, v) FROM stdin;\n{rows}\n\\.\n\nSELECT 1;\n"


def inserted(value) -> str:
    rows = ",\n".join(f"('{n}', '{t}', {value(v)})" for n, t, v in zip(NAMES, NOTES, ROWS, strict=True))
    return f'CREATE TABLE "t" (id text, body text, v blob);\nINSERT INTO "t" VALUES {rows};\n'


def zipped(*columns, header) -> list[list]:
    return [[*header], *map(list, zip(NAMES, NOTES, *columns, strict=True))]


def records(vectors):
    return ({"id": n, "text": t, "v": v} for n, t, v in zip(NAMES, NOTES, vectors, strict=True))


def wide(delimiter: str) -> str:
    return separated(
        [["id", "text", *WIDE], *([n, t, *v] for n, t, v in zip(NAMES, NOTES, LISTS, strict=True))], delimiter
    )


HEADER = ("id", "text", "v")
LISTED = pa.array(LISTS, pa.list_(pa.float32()))
FIXED = pa.FixedSizeListArray.from_arrays(pa.array(ROWS.ravel()), 24)
WIDE = {f"dim_{n}": pa.array(ROWS[:, n]) for n in range(24)}
PLAIN = {
    "list.parquet": table(v=LISTED),
    "large.parquet": table(v=LISTED.cast(pa.large_list(pa.float32()))),
    "fixed.parquet": table(v=FIXED),
    "double.parquet": table(v=pa.array(LISTS)),
    "strings.parquet": table(v=[json.dumps(row) for row in LISTS]),
    "dictionary.parquet": table(v=pa.array([json.dumps(row) for row in LISTS]).dictionary_encode()),
    "binary.parquet": table(v=as_bytes("<f4")),
    "doubles.parquet": table(v=as_bytes("<f8")),
    "nested.parquet": table(chunk=pa.StructArray.from_arrays([LISTED, pa.array(NAMES)], ["values", "model"])),
    "tokens.parquet": table(tokens=[[1] * (n % 5 + 1) for n in range(40)], v=LISTED),
    "wide.parquet": table(**WIDE),
    "stream.arrow": stream(LISTED),
    "file.feather": stream(FIXED, file=True),
    "objects.jsonl": jsonl(records(LISTS)),
    "strings.jsonl": jsonl(records(map(str, LISTS))),
    "base64.jsonl": jsonl(records(map(b64, as_bytes("<f4")))),
    "base64-double.jsonl": jsonl(records([b64(raw)] for raw in as_bytes("<f8"))),
    "nested.jsonl": jsonl({"id": r["id"], "doc": {"text": r["text"], "v": r["v"]}} for r in records(LISTS)),
    "list.json": json.dumps(list(records(LISTS)), indent=1),
    "columns.json": json.dumps(
        {"id": dict(enumerate(NAMES)), "text": dict(enumerate(NOTES)), "v": dict(enumerate(LISTS))}
    ),
    "lists.json": json.dumps({"ids": NAMES, "documents": NOTES, "embeddings": LISTS}),
    "keyed.json": json.dumps({r.pop("id"): r for r in records(LISTS)}),
    "table.csv": separated(zipped(map(str, LISTS), header=HEADER)),
    "repr.csv": separated(zipped((str(np.array(v)) for v in TEXTS), header=HEADER)),
    "braces.csv": separated(zipped(("{" + str(v)[1:-1] + "}" for v in LISTS), header=HEADER)),
    "wide.csv": wide(","),
    "wide.tsv": wide("\t"),
    "semicolons.csv": separated(zipped(map(str, LISTS), header=HEADER), ";"),
    "copy.sql": copied(),
    "array.sql": inserted(lambda v: f"ARRAY[{','.join(repr(float(x)) for x in v)}]::real[]"),
    "text.sql": inserted(lambda v: f"'[{','.join(repr(float(x)) for x in v)}]'::vector"),
    "blob.sql": inserted(lambda v: f"X'{v.tobytes().hex()}'"),
    "hex.sql": inserted(lambda v: f"0x{v.tobytes().hex()}"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_tables_are_read_with_their_ids_and_texts(tmp_path, name) -> None:
    content = PLAIN[name]
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content, encoding="utf-8", newline="")
    source = unembed.open_source(path)
    ids, vectors, texts, rows = everything(source)
    assert ids == NAMES and texts == NOTES and rows == list(range(40))
    assert np.allclose(vectors, ROWS, rtol=0, atol=1e-8) if name == "repr.csv" else np.array_equal(vectors, ROWS)
    assert source.width == 24 and source.total == 40 and not source.skipped
    assert np.array_equal(unembed.read_vectors(path), vectors)


def write(path, name: str):
    if name.endswith((".npy", ".fortran")):
        np.save(path, np.asfortranarray(ROWS) if "fortran" in name else ROWS.astype(">f4"))
    elif name.endswith(".npz"):
        np.savez_compressed(path, id=NAMES, text=NOTES, embeddings=ROWS)
    elif name.endswith(".pt"):
        torch.save({"model": {"embeddings": torch.from_numpy(ROWS)}, "epoch": 3}, path)
    elif name.endswith(".fvecs"):
        path.write_bytes(b"".join(struct.pack("<i", 24) + row.tobytes() for row in ROWS))
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(jsonl(LISTS).encode()))
    elif name.endswith(".json"):
        path.write_text(json.dumps(openai(LISTS if "plain" in name else [b64(raw) for raw in as_bytes("<f4")])))
    elif name.endswith(".jsonl"):
        bodies = [{"custom_id": n, "response": {"body": openai([v])}} for n, v in zip(NAMES, LISTS, strict=True)]
        path.write_text(jsonl(bodies))
    elif name.endswith(".txt"):
        path.write_text(
            "40 24\n" + "".join(f"{n} {' '.join(map(repr, v))}\n" for n, v in zip(NAMES, LISTS, strict=True))
        )
    else:
        path.write_text("".join("\t".join(map(repr, row)) + "\n" for row in LISTS))
        (path.parent / "metadata.tsv").write_text("id\ttext\n" + "".join(f"{n}\tx\n" for n in NAMES))
    return path


OTHERS = [
    "big.npy", "fortran.npy", "v.npz", "v.pt", "v.fvecs", "v.jsonl.gz", "plain.json", "base64.json", "batch.jsonl",
    "words.txt", "vectors.tsv",
]  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_arrays_and_answers_are_read(tmp_path, name) -> None:
    ids, vectors, _, _ = everything(unembed.open_source(write(tmp_path / name, name)))
    assert np.array_equal(vectors, ROWS)
    named = name in ("v.npz", "batch.jsonl", "words.txt", "vectors.tsv")
    assert ids == (NAMES if named else [str(n) for n in range(40)])


def test_what_a_file_is_is_told_from_its_bytes_first(tmp_path) -> None:
    np.save(tmp_path / "v.npy", ROWS)
    (tmp_path / "v.npy").rename(tmp_path / "v.npz")
    (tmp_path / "w.bin").write_bytes(PLAIN["list.parquet"])
    assert unembed.open_source(tmp_path / "v.npz").count == 40 and unembed.open_source(tmp_path / "w.bin").count == 40


def test_folders_of_tables_and_data_sets(tmp_path) -> None:
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "data-00000.arrow").write_bytes(PLAIN["stream.arrow"])
        state = {"_data_files": [{"filename": "data-00000.arrow"}]}
        (tmp_path / part / "state.json").write_text(json.dumps(state))
    source = unembed.open_source(tmp_path)
    assert set(source.collections) == {"train", "test"} and len(everything(source)[0]) == 80
    assert len(everything(unembed.open_source(tmp_path, collection="test"))[0]) == 40
    with pytest.raises(InputError, match="no part 'x'"):
        unembed.open_source(tmp_path, collection="x")


def test_a_column_is_chosen_by_name_by_width_or_asked_for(tmp_path) -> None:
    (tmp_path / "v.parquet").write_bytes(table(a=LISTED, b=pa.array([row[:12] for row in LISTS])))
    with pytest.raises(InputError, match=r"several columns \(a, b\); say which \(--column NAME\)"):
        unembed.open_source(tmp_path / "v.parquet")
    assert unembed.open_source(tmp_path / "v.parquet", width=12).width == 12
    assert unembed.open_source(tmp_path / "v.parquet", "a", width=12, undo=False).width == 24
    (tmp_path / "n.parquet").write_bytes(PLAIN["nested.parquet"])
    for column in ("chunk.values", "chunk"):
        assert unembed.open_source(tmp_path / "n.parquet", column).width == 24
    (tmp_path / "b.jsonl").write_text(jsonl({"response": {"body": openai([v])}} for v in LISTS))
    for column in ("response.body.data", "response.body.data[].embedding", "response.body.data.embedding"):
        assert unembed.open_source(tmp_path / "b.jsonl", column).width == 24
    with pytest.raises(InputError, match="no field 'x'"):
        unembed.open_source(tmp_path / "b.jsonl", "x")


BAD = [None, [], [0.5] * 23, [0.0] * 24, [0.5] * 23 + [float("nan")], [0.5] * 23 + [None]]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "json"])
def test_bad_rows_are_skipped_counted_and_named_and_strict_stops(tmp_path, kind) -> None:
    rows = [LISTS[0], *BAD, LISTS[1]]
    records = [{"id": f"k{n}", "v": row} for n, row in enumerate(rows)]
    path = tmp_path / f"v.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"id": [r["id"] for r in records], "v": pa.array(rows, pa.list_(pa.float32()))}), path)
    else:
        path.write_text(jsonl(records) if kind == "jsonl" else json.dumps(records))
    for size in (1, 2, 100):
        source = unembed.open_source(path)
        ids, vectors, _, numbers = everything(source, size)
        assert ids == ["k0", "k7"] and numbers == [0, 7] and np.array_equal(vectors, ROWS[:2])
        assert sum(source.skipped.values()) == 6 and [row.row for row in source.skipped_rows] == [1, 2, 3, 4, 5, 6]
        assert [row.id for row in source.skipped_rows] == [f"k{n}" for n in range(1, 7)]
    reasons = {row.id: row.reason for row in source.skipped_rows}
    assert reasons["k1"] == "is null" and reasons["k2"] == "is empty" and reasons["k3"] == "is 23 wide, the others 24"
    assert source.skipped_summary().startswith("6 of 8 rows skipped: ")
    with pytest.raises(InputError, match=r"row 1 \(k1\) is null; remove it or embed it again"):
        list(unembed.open_source(path, strict=True).batches())
    with pytest.raises(InputError, match=r"row 1 \(k1\)"):
        unembed.read_vectors(path)


def test_lines_end_at_a_line_feed_and_nothing_else(tmp_path) -> None:
    odd = "a\u2028b\u0085c\x0bd\x1ce"
    lines = [json.dumps({"text": odd, "v": row}, ensure_ascii=False).replace("\\u000b", "\x0b") for row in LISTS[:3]]
    (tmp_path / "v.jsonl").write_bytes("\r\n".join(line.replace("\x0b", "\\u000b") for line in lines).encode())
    _, vectors, texts, _ = everything(unembed.open_source(tmp_path / "v.jsonl"))
    assert len(vectors) == 3 and texts == [odd] * 3


def deep(count: int) -> str:
    return "[" * count + "]" * count


def huge(shape: str, tail: bytes = b"\0" * 96) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.ljust(117).encode() + b"\n" + tail


WRONG = {
    "huge.npy": (huge("(400000000, 24)"), "declares an array of shape .* and the file has"),
    "huger.npy": (huge(f"({10**30}, 24)"), "declares|can't be read"),
    "negative.npy": (huge("(-1, 24)"), "can't be read"),
    "quote.npy": (huge("(4, 6)").replace(b"'descr'", b"'descr", 1), "can't be read"),
    "tuple.npy": (huge("(4, 6"), "can't be read"),
    "cut.npy": (huge("(4, 6)")[:60], "can't be read"),
    "zip.npz": (b"PK\x03\x04 nonsense", "can't be read"),
    "v.pkl": (b"\x80\x04N.", "is a pickle"),
    "unknown": (b"\x80\x04N.", "is a pickle"),
    "v.pt": (b"\x80\x02nonsense", r"v\.pt"),
    "v.fvecs": (b"\xff\xff\xff\x7f" + b"x" * 40, "declares a width"),
    "odd.fvecs": (struct.pack("<i", 2) + b"x" * 9, "whole number of rows"),
    "digits.jsonl": ("[0.5, 0.25]\n[" + "9" * 400 + ", 1]\n", "beyond the range"),
    "deep.jsonl": ("[0.5, 0.25]\n" + deep(100_000) + "\n", "nested too deep"),
    "deep.json": (deep(100_000), "nested too deep|isn't JSON"),
    "cut.json": ('[{"v": [1, 2]}, {"v": [1', "cut"),
    "word.json": ('"text"', "not a list or object"),
    "zeros.csv": ("id,v\n1,\x00\n", r"zeros\.csv"),
    "twice.csv": ('v,v\n"[1,2]","[1,2]"\n', "several columns called v"),
    "blank.csv": ("\n\n", "empty line"),
    "latin.csv": ("id,v\n\xe9,[1]\n".encode("latin-1"), "UTF-8"),
    "none.csv": ("id,name\n1,a\n", "no column of vectors; it has id, name"),
    "cut.jsonl.gz": (gzip.compress(jsonl(LISTS).encode())[:-20], "unpacked"),
    "none.sql": (
        "CREATE TABLE a (b text);\nINSERT INTO a VALUES ('x');\n",
        "no table with vectors; tables with rows: a",
    ),
    "cut.sql": ("COPY a (b) FROM stdin;\n[0.5,0.25]\n", "is cut"),
    "v.doc": ("x", "not '.doc'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cant_be_read_is_one_line_that_says_why(tmp_path, name) -> None:
    content, message = WRONG[name]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as caught:
        list(unembed.open_source(path, strict=True).batches())
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700 and name in str(caught.value)


def test_two_columns_of_one_name_and_names_without_end(tmp_path) -> None:
    pq.write_table(pa.Table.from_arrays([LISTED, LISTED], names=["embedding"] * 2), tmp_path / "v.parquet")
    with pytest.raises(InputError, match="several columns called embedding"):
        unembed.open_source(tmp_path / "v.parquet")
    pq.write_table(pa.table({f"name{'x' * n}": ["a"] for n in range(200)}), tmp_path / "w.parquet")
    with pytest.raises(InputError, match="and 188 more") as caught:
        unembed.open_source(tmp_path / "w.parquet")
    assert len(str(caught.value)) < 900


@pytest.mark.parametrize("name", ["list.parquet", "strings.parquet", "stream.arrow", "file.feather"])
def test_damage_anywhere_in_a_table_is_read_or_refused_in_one_line(tmp_path, name) -> None:
    whole = bytearray(PLAIN[name])
    path = tmp_path / name
    random = np.random.default_rng(1)
    refused = 0
    for place in random.integers(0, len(whole), 60).tolist():
        damaged = bytearray(whole)
        damaged[place : place + 3] = random.integers(0, 256, 3, dtype=np.uint8).tobytes()
        path.write_bytes(damaged[: len(whole)])
        try:
            list(unembed.open_source(path).batches())
        except InputError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 700
    assert refused


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000, "no\0file", ""])
def test_names_that_no_file_can_have(name) -> None:
    with pytest.raises(InputError, match="no file") as caught:
        unembed.open_source(name)
    assert len(str(caught.value)) < 400


def test_devices_pipes_and_empty_folders(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(InputError, match="device or a pipe"):
        unembed.open_source(tmp_path / "pipe.npy")
    with pytest.raises(InputError, match="folder without a known store"):
        unembed.open_source(tmp_path)


def test_no_secret_of_a_url_is_shown() -> None:
    with pytest.raises(InputError, match="no kind of source reads") as caught:
        unembed.open_source("mystery://me:hunter2@host/?api_key=abc123")
    assert "hunter2" not in str(caught.value) and "abc123" not in str(caught.value)


def test_reading_begins_anew_each_time_and_can_stop_anywhere(tmp_path) -> None:
    np.save(tmp_path / "v.npy", ROWS)
    source = unembed.open_source(tmp_path / "v.npy")
    first = source.batches(3)
    next(first)
    first.close()
    assert len(everything(source)[0]) == 40 and source.total == 40
    assert source.kind == "a .npy array" and source.count == 40


def test_without_payloads_only_ids_and_vectors_are_read(tmp_path) -> None:
    (tmp_path / "v.parquet").write_bytes(table(v=LISTED, more=list(range(40))))
    batch = next(unembed.open_source(tmp_path / "v.parquet", payloads=False).batches())
    assert batch.texts is None and batch.payloads is None and list(batch.ids) == NAMES
    batch = next(unembed.open_source(tmp_path / "v.parquet").batches())
    assert batch.payloads is not None and batch.payloads[3] == {"more": 3}
