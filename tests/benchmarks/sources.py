"""How fast sources are read and how much memory that takes.

    sources.py                                        # 100,000 vectors of every kind
    sources.py chroma lance --count 10000 100000      # of two kinds; memory that is flat is the same for both numbers

Each store is made once, in build/benchmarks, then read in a process of its own: seconds, vectors a second, and the peak
of memory above what the process had after importing unembed. Memory that pages of a mapped file fill isn't counted
where the system tells it apart (Linux: anonymous memory).
"""

import argparse
import json
import pickle
import resource
import shutil
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

WIDTH = 384
MADE = Path(__file__).parents[2] / "build" / "benchmarks"


def pieces(count: int, size: int = 10_000):
    """Random vectors, piece by piece."""
    random = np.random.default_rng(0)
    for first in range(0, count, size):
        yield first, random.normal(size=(min(size, count - first), WIDTH)).astype(np.float32)


def make_npy(path: Path, count: int) -> None:
    found = np.lib.format.open_memmap(path, "w+", np.float32, (count, WIDTH))
    for first, rows in pieces(count):
        found[first : first + len(rows)] = rows
    found.flush()


def arrow(first: int, rows: np.ndarray, fixed: bool = False) -> pa.Table:
    values = pa.array(rows.ravel())
    if fixed:
        vectors = pa.FixedSizeListArray.from_arrays(values, WIDTH)
    else:
        vectors = pa.ListArray.from_arrays(np.arange(0, rows.size + 1, WIDTH, dtype=np.int32), values)
    names = [f"rec-{first + n}" for n in range(len(rows))]
    return pa.table({"id": names, "text": [f"note {name}" for name in names], "vector": vectors})


def make_parquet(path: Path, count: int) -> None:
    writer = None
    for first, rows in pieces(count):
        table = arrow(first, rows)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def make_one_group(path: Path, count: int) -> None:
    """Parquet with all rows in one group, as a data frame is written."""
    parts = [arrow(first, rows) for first, rows in pieces(count)]
    pq.write_table(pa.concat_tables(parts), path, row_group_size=count)


def make_jsonl(path: Path, count: int) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for first, rows in pieces(count):
            for number, row in enumerate(rows.tolist(), first):
                file.write(json.dumps({"id": f"rec-{number}", "vector": row}) + "\n")


def make_sqlite(path: Path, count: int) -> None:
    database = sqlite3.connect(path)
    database.execute("create table notes (id integer primary key, text text, v blob)")
    for first, rows in pieces(count):
        values = [(first + n, f"note {first + n}", row.tobytes()) for n, row in enumerate(rows)]
        database.executemany("insert into notes values (?, ?, ?)", values)
    database.commit()
    database.close()


def make_chroma(path: Path, count: int) -> None:
    """All in the index files, a tenth of it deleted, the ids in SQLite."""
    path.mkdir()
    database = sqlite3.connect(path / "chroma.sqlite3")
    database.executescript(
        "create table collections (id text primary key, name text, dimension integer, config_json_str text);"
        "create table collection_metadata (collection_id text, key text, str_value text);"
        "create table segments (id text primary key, type text, scope text, collection text);"
        "create table embeddings (id integer primary key, segment_id text, embedding_id text, "
        "unique (segment_id, embedding_id));"
        "create table embedding_metadata (id integer, key text, string_value text, int_value integer, "
        "float_value real, primary key (id, key));"
        "create table embeddings_queue (seq_id integer primary key, created_at timestamp, operation integer, "
        "topic text, id text, vector blob, encoding text, metadata text);"
        "insert into collections values ('c1', 'notes', 384, '{}');"
        "insert into segments values ('vector', 'x', 'VECTOR', 'c1'), ('metadata', 'x', 'METADATA', 'c1');"
    )
    folder = path / "vector"
    folder.mkdir()
    size = 132 + 4 * WIDTH + 8
    row = np.dtype(
        {
            "names": ["flags", "vector", "label"],
            "formats": ["u1", ("<f4", (WIDTH,)), "<u8"],
            "offsets": [2, 132, 132 + 4 * WIDTH],
            "itemsize": size,
        }
    )
    header = struct.pack("<iQQQQQQ", 1, 0, count, count, size, 132 + 4 * WIDTH, 132)
    (folder / "header.bin").write_bytes(header + bytes(100 - len(header)))
    (folder / "length.bin").write_bytes(np.ones(count, "<f4").tobytes())
    labels = {}
    with open(folder / "data_level0.bin", "wb") as file:
        for first, rows in pieces(count):
            part = np.zeros(len(rows), row)
            part["vector"], part["label"] = rows, np.arange(first, first + len(rows))
            part["flags"] = np.arange(len(rows)) % 10 == 0
            file.write(part.tobytes())
            live = [first + n for n in range(len(rows)) if n % 10]
            labels |= {f"rec-{n}": n for n in live}
            database.executemany("insert into embeddings values (?, 'metadata', ?)", [(n, f"rec-{n}") for n in live])
            database.executemany(
                "insert into embedding_metadata (id, key, string_value) values (?, 'chroma:document', ?)",
                [(n, f"note {n}") for n in live],
            )
    (folder / "index_metadata.pickle").write_bytes(pickle.dumps({"id_to_label": labels}, 3))
    database.commit()
    database.close()


class Point:
    """Stands in for Qdrant's class, so that pickles have its form."""

    def __init__(self, number: int, vector: list[float]) -> None:
        self.id, self.vector, self.payload = number, vector, {"text": f"note {number}"}


def make_qdrant(path: Path, count: int) -> None:
    (path / "collection" / "notes").mkdir(parents=True)
    meta = {"collections": {"notes": {"vectors": {"size": WIDTH, "distance": "Dot"}}}}
    (path / "meta.json").write_text(json.dumps(meta))
    database = sqlite3.connect(path / "collection" / "notes" / "storage.sqlite")
    database.execute("create table points (id text primary key, point blob)")
    for first, rows in pieces(count):
        values = [(str(first + n), pickle.dumps(Point(first + n, row.tolist()))) for n, row in enumerate(rows)]
        database.executemany("insert into points values (?, ?)", values)
    database.commit()
    database.close()


def make_lance(path: Path, count: int) -> None:
    import lance

    for first, rows in pieces(count):
        lance.write_dataset(arrow(first, rows, fixed=True), path, mode="append" if first else "create")
    lance.dataset(str(path)).delete("id like '%7'")


def make_duckdb(path: Path, count: int) -> None:
    import duckdb

    with duckdb.connect(str(path)) as database:
        database.execute(f"create table notes (id varchar, text varchar, vector float[{WIDTH}])")
        for first, rows in pieces(count):
            database.register("part", arrow(first, rows, fixed=True))
            database.execute("insert into notes select * from part")
            database.unregister("part")


def make_faiss(path: Path, count: int) -> None:
    import faiss

    index = faiss.IndexFlatIP(WIDTH)
    for _, rows in pieces(count):
        index.add(rows)
    faiss.write_index(index, str(path))


def make_hdf5(path: Path, count: int) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        found = file.create_dataset("notes/embeddings", (count, WIDTH), np.float32)
        for first, rows in pieces(count):
            found[first : first + len(rows)] = rows


KINDS = {
    "npy": ("v.npy", make_npy),
    "parquet": ("v.parquet", make_parquet),
    "parquet-one-group": ("w.parquet", make_one_group),
    "jsonl": ("v.jsonl", make_jsonl),
    "chroma": ("chroma", make_chroma),
    "qdrant": ("qdrant", make_qdrant),
    "sqlite": ("v.db", make_sqlite),
    "lance": ("notes.lance", make_lance),
    "duckdb": ("v.duckdb", make_duckdb),
    "faiss": ("v.faiss", make_faiss),
    "hdf5": ("v.h5", make_hdf5),
}


def anonymous() -> float:
    """Megabytes of memory that no file backs, of this process and its children; the resident peak elsewhere."""
    total = 0
    for process in ["self", *children()]:
        try:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
    return total / 1024 if total else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def children() -> list[str]:
    found = []
    for task in Path("/proc/self/task").glob("*/children") if Path("/proc/self/task").is_dir() else []:
        found += task.read_text().split()
    return found


def measure(place: str, whole: bool) -> None:
    """Read everything and print seconds of the clock and of the processor, how many, and the peak above the start."""
    import unembed

    start, peak, done = anonymous(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    before, cpu = time.perf_counter(), time.process_time()
    if whole:
        count, deleted = len(unembed.read_vectors(place)), 0
    else:
        source = unembed.open_source(place)
        for batch in source.batches(1024):
            assert batch.vectors.shape[1] == WIDTH
        count, deleted = source.total, source.deleted
    seconds, cpu = time.perf_counter() - before, time.process_time() - cpu
    done.set()
    watcher.join()
    print(json.dumps([seconds, cpu, count, deleted, max(peak[0], anonymous()) - start]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; all unless named")
    parser.add_argument("--count", type=int, nargs="+", default=[100_000], help="vectors of each store (100000)")
    parser.add_argument("--fresh", action="store_true", help="make stores again that are there")
    parser.add_argument("--whole", action="store_true", help="read_vectors, one array, instead of batches")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        return measure(options.measure, options.whole)
    print(f"{WIDTH} wide")
    print(f"{'kind':<18}{'vectors':>9}{'seconds':>9}{'processor':>11}{'vectors/s':>12}{'deleted':>9}{'peak MB':>9}")
    for kind in options.kinds or KINDS:
        for count in options.count:
            path = made(kind, count, options.fresh)
            words = [sys.executable, __file__, "--measure", str(path), *(["--whole"] if options.whole else [])]
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode:
                print(f"{kind:<18}{(done.stderr.strip().splitlines() or ['failed'])[-1]}")
                continue
            seconds, cpu, read, deleted, peak = json.loads(done.stdout)
            rate = f"{read / seconds:>12,.0f}"
            print(f"{kind:<18}{read:>9,}{seconds:>9.1f}{cpu:>11.1f}{rate}{deleted:>9,}{peak:>9.0f}", flush=True)
    return None


def made(kind: str, count: int, fresh: bool) -> Path:
    """Where a store of that kind and size lies; it is made where it doesn't yet, or half of it does."""
    name, make = KINDS[kind]
    folder = MADE / f"{kind}-{count}"
    if fresh or not (folder / "whole").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make(folder / name, count)
        (folder / "whole").touch()
    return folder / name


if __name__ == "__main__":
    main()
