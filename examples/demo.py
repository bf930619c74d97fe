"""What does a vector store give away? `make demo` builds a small one, deletes some of its records, and audits it.

The store is a LanceDB table of invented records (notes with names, telephone numbers, passwords), embedded by
all-MiniLM-L6-v2. The audit reads its files, inverts every vector, the deleted ones too, and writes a report.
"""

import argparse
import os
import shutil
import sys
import time
from itertools import islice
from pathlib import Path

import lance
import pyarrow as pa

import unembed
from unembed import cli
from unembed_audit.invented import invented

STORE, REPORT = Path("build/demo/notes.lance"), Path("build/demo/report")
TOKENS = 16  # of the longest record: short ones come back whole, and quickly


def build(count: int, deleted: int) -> None:
    """A table of `count` invented records, of which `deleted` are deleted as its users would."""
    inverter = unembed.load("minilm")
    texts = (one.text for one in invented(seed=5))
    kept = list(islice((text for text in texts if inverter.codec.lengths([text])[0] <= TOKENS), count))
    vectors = pa.array(inverter.embed(kept).cpu().tolist(), pa.list_(pa.float32(), inverter.dimension))
    ids = [f"note-{place:02}" for place in range(1, count + 1)]
    shutil.rmtree(STORE.parent, ignore_errors=True)
    table = lance.write_dataset(pa.table({"id": ids, "text": kept, "vector": vectors}), str(STORE))
    if deleted:
        table.delete(f"id in ({', '.join(map(repr, ids[:: max(1, count // deleted)][:deleted]))})")
    print(f"built {STORE}: {table.count_rows()} notes, {deleted} more deleted from it")


def main() -> None:
    """Build the store, audit it, and say how long that took."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--records", type=int, default=16, help="records in the store (16)")
    options.add_argument("--deleted", type=int, default=4, help="of which are deleted (4)")
    given = options.parse_args()
    os.environ.setdefault("TQDM_DISABLE", "1")  # the libraries under a plugin have bars of their own
    began = time.monotonic()
    build(given.records, given.deleted)
    print(f"\n$ unembed audit {STORE} --out {REPORT}", flush=True)
    sys.argv = ["unembed", "audit", str(STORE), "--out", str(REPORT)]
    try:
        cli.main()
    finally:
        print(f"\n{time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
