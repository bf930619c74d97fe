"""Hold a tenth of texts out of training, by a hash of each: the same ones in any order, beside any others.

    hold_out.py OUT FILE.parquet …    # FILE.parquet in OUT without them, and held-out.parquet (text, source)

Standard library and pyarrow.
"""

import argparse
from hashlib import blake2b
from pathlib import Path

import pyarrow
import pyarrow.compute
import pyarrow.parquet

COLUMNS = ["text", "source"]


def held_out(text: str) -> bool:
    """Whether `text` is one of the tenth."""
    return blake2b(text.encode(), digest_size=4).digest()[0] < 26


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    parts = []
    for path in arguments.files:
        table = pyarrow.parquet.read_table(path, columns=COLUMNS)
        mask = pyarrow.array([held_out(text) for text in table["text"].to_pylist()])
        kept = table.filter(pyarrow.compute.invert(mask))
        pyarrow.parquet.write_table(kept, arguments.out / path.name, compression="zstd", compression_level=15)
        parts.append(table.filter(mask))
        print(f"{path.name}: {len(kept)} kept, {len(parts[-1])} held out")
    pyarrow.parquet.write_table(pyarrow.concat_tables(parts), arguments.out / "held-out.parquet", compression="zstd")


if __name__ == "__main__":
    main()
