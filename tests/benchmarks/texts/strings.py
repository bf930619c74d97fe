"""Write invented strings of what records fail on: digits, codes, dates, amounts, lists of names and words.

    strings.py OUT.parquet COUNT SEED RECORDS.parquet    # names and the like come from the spans of RECORDS

Columns `text` and `source` (`strings/KIND`). Standard library and pyarrow.
"""

import random
import string
import sys
from collections import defaultdict
from collections.abc import Callable

import pyarrow
import pyarrow.parquet

MONTHS = "January February March April May June July August September October November December"


def shaped(draw: random.Random) -> str:
    """A code of a random shape, as `AB-4711/x9`."""
    pools = (string.digits, string.digits, string.ascii_uppercase, string.ascii_lowercase, string.hexdigits[:16])
    parts = []
    for _ in range(draw.randint(1, 4)):
        pool = draw.choice(pools)
        parts.append("".join(draw.choice(pool) for _ in range(draw.randint(1, 6))))
    return draw.choice(["-", "/", ".", ":", "_", " ", ""]).join(parts)


def number(draw: random.Random) -> str:
    """A number as it is written somewhere."""
    value = draw.random() * 10 ** draw.randint(1, 7)
    return draw.choice([f"{value:.0f}", f"{value:.2f}", f"{value:,.2f}", f"{value:,.0f}", f"{value:.1f}%"])


def date(draw: random.Random) -> str:
    """A date or a time as it is written somewhere."""
    y, m, d = draw.randint(1960, 2030), draw.randint(1, 12), draw.randint(1, 28)
    h, n = draw.randint(0, 23), draw.randint(0, 59)
    name = MONTHS.split()[m - 1]
    forms = f"{y}-{m:02}-{d:02}", f"{d}/{m}/{y}", f"{m:02}/{d:02}/{y % 100:02}", f"{d} {name} {y}", f"{name} {d}, {y}"
    return draw.choice([*forms, f"{h:02}:{n:02}", f"{h % 12 or 12}:{n:02} {'ap'[h > 11]}m", f"{d} {name[:3]}"])


def main() -> None:
    out, count, seed, records = sys.argv[1:]
    draw = random.Random(int(seed))
    spans: dict[str, list[str]] = defaultdict(list)
    for row in pyarrow.parquet.read_table(records, columns=["spans"])["spans"].slice(0, 40_000).to_pylist():
        for span in row:
            spans[span["kind"]].append(span["text"])
    makers: dict[str, Callable[[], str]] = {
        "codes": lambda: shaped(draw),
        "numbers": lambda: number(draw),
        "dates": lambda: date(draw),
        **{kind: (lambda found=found: draw.choice(found)) for kind, found in sorted(spans.items())},
    }
    texts, sources = [], []
    for _ in range(int(count)):
        kind = draw.choice(list(makers))
        mixed = draw.random() < 0.5
        parts = [makers[draw.choice(list(makers)) if mixed else kind]() for _ in range(draw.randint(1, 12))]
        texts.append(draw.choice([", ", " ", "; ", ". ", " | ", "\n", " - "]).join(parts))
        sources.append("strings/mixed" if mixed else f"strings/{kind}")
    table = pyarrow.table({"text": texts, "source": sources})
    pyarrow.parquet.write_table(table, out, compression="zstd", compression_level=15)


if __name__ == "__main__":
    main()
