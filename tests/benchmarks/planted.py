"""The whole chain on planted records: how many names and numbers an audit finds, and how many findings are right.

    planted.py                                # 12 records of up to 16 tokens at effort low: a few minutes on a CPU
    planted.py --count 1000 --tokens 16 24 32 --chunks 64 128 --effort max     # the table, on a GPU

Invented records are embedded and planted in a Chroma store without documents; `unembed audit` reads it, inverts and
reports, and its findings are compared with what was planted. Prints a JSON line a setting. `names` and `numbers` are
the shares of planted names, and of planted spans with a digit, that are among the findings; `precision` is that of all
findings, `precision_likely` that of those whose estimated support is at least one half. Each with its 95 % interval.
"""

import argparse
import json
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

import unembed
from unembed_audit.auditing import Plan, audit
from unembed_audit.commands.opening import open_calibration, open_tagger
from unembed_audit.findings.detect import detect_all
from unembed_audit.findings.support import normalised
from unembed_audit.invented import Planted, chunks, invented
from unembed_audit.pipeline.comparing import words_of
from unembed_audit.report.rates import wilson

# As chromadb 1.x has it; up to a thousand writes the queue is the only place of the vectors.
SCHEMA = """
create table collections (id text primary key, name text not null, dimension integer, config_json_str text,
  schema_str text);
create table collection_metadata (collection_id text, key text not null, str_value text);
create table segments (id text primary key, type text not null, scope text not null, collection text);
create table embeddings (id integer primary key, segment_id text not null, embedding_id text not null, seq_id blob,
  created_at timestamp, unique (segment_id, embedding_id));
create table embedding_metadata (id integer, key text not null, string_value text, int_value integer, float_value real,
  bool_value integer, primary key (id, key));
create table embeddings_queue (seq_id integer primary key, created_at timestamp not null default current_timestamp,
  operation integer not null, topic text not null, id text not null, vector blob, encoding text, metadata text);
"""


def write_chroma(folder: Path, ids: list[str], vectors: np.ndarray) -> None:
    """A Chroma folder with one collection, which holds ids and vectors and nothing else."""
    database = sqlite3.connect(folder / "chroma.sqlite3")
    database.executescript(SCHEMA)
    database.execute("insert into collections values ('c1', 'planted', ?, '{}', null)", (vectors.shape[1],))
    for scope in ("VECTOR", "METADATA"):
        database.execute("insert into segments values (?, 'x', ?, 'c1')", (scope.lower(), scope))
    for name, vector in zip(ids, vectors, strict=True):
        row = ("persistent://default/default/c1", name, vector.astype("<f4").tobytes())
        insert = "insert into embeddings_queue (operation, topic, id, vector, encoding) values (0, ?, ?, ?, 'FLOAT32')"
        database.execute(insert, row)
        database.execute("insert into embeddings (segment_id, embedding_id) values ('metadata', ?)", (name,))
    database.commit()
    database.close()


def records(inverter: unembed.Inverter, tokens: int, *, chunk: bool, seed: int) -> Iterator[Planted]:
    """Records of up to `tokens` tokens, and of more than half as many; or passages of about that many."""
    lengths = inverter.codec.lengths
    if chunk:
        yield from chunks(seed, round(tokens / 1.6))
        return
    sources = [invented(seed)] if tokens <= 16 else [invented(seed, long=True), invented(seed + 1)]
    while True:
        for source in sources:
            one = next(source)
            if tokens / 2 < lengths([one.text])[0] <= tokens:
                yield one


def holds(findings: list[dict], value: str, kinds: tuple[str, ...] | None) -> bool:
    """Whether a finding (of one of those kinds) has the value."""
    wanted = normalised(value)
    return any(wanted in normalised(one["value"]) for one in findings if kinds is None or one["kind"] in kinds)


def score(planted: dict[str, Planted], rows: list[dict], tag: object) -> dict[str, object]:
    """Counts over all rows, as shares with intervals."""
    names = numbers = named = numbered = right = found = likely = likely_right = 0
    for row in rows:
        one, findings = planted[row["id"]], row["findings"]
        (true,) = detect_all([one.text], tag=tag)
        words = words_of(one.text)
        for start, end, kind in one.spans:
            value = one.text[start:end]
            if kind == "name":
                names += 1
                named += holds(findings, value, ("name",))
            elif any(c.isdigit() for c in value):
                numbers += 1
                numbered += holds(findings, value, None)
        for finding in findings:
            wanted = words_of(finding["value"])
            ok = any(words[i : i + len(wanted)] == wanted for i in range(len(words))) or any(
                normalised(finding["value"]) == normalised(other.value) for other in true
            )
            found, right = found + 1, right + ok
            if (finding["support"] or 0) >= 0.5:
                likely, likely_right = likely + 1, likely_right + ok
    shares = {"names": (named, names), "numbers": (numbered, numbers), "precision": (right, found),
              "precision_likely": (likely_right, likely)}  # fmt: skip
    return {name: wilson(*counts).as_dict() for name, counts in shares.items()}


def main() -> None:
    """Print a JSON line for each length and chunk."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=12, help="records of each setting (12)")
    options.add_argument("--tokens", type=int, nargs="*", default=[16], help="longest record, in tokens (16)")
    options.add_argument("--chunks", type=int, nargs="*", default=[], help="passages of about so many tokens")
    options.add_argument("--effort", default="low", help="of the search (low)")
    options.add_argument("--seed", type=int, default=11)
    options.add_argument("--device", help="cpu or cuda")
    options.add_argument("--keep", type=Path, help="folder that keeps stores and audits; a stopped run goes on")
    given = options.parse_args()
    inverter = unembed.load("minilm", device=given.device)
    tag, calibration = open_tagger(given.device), open_calibration(inverter)
    settings = [(tokens, False) for tokens in given.tokens] + [(tokens, True) for tokens in given.chunks]
    with tempfile.TemporaryDirectory() as temporary:
        for tokens, chunk in settings:
            began = time.monotonic()
            name = f"{'chunk' if chunk else 'records'}-{tokens}-{given.count}-{given.effort}-{given.seed}"
            folder = (given.keep or Path(temporary)) / name
            made = list(islice(records(inverter, tokens, chunk=chunk, seed=given.seed), given.count))
            planted = {f"planted-{place:04}": one for place, one in enumerate(made)}
            store = folder / "chroma"
            if not store.exists():
                store.mkdir(parents=True)
                parts = [inverter.embed([one.text for one in made[i : i + 64]]) for i in range(0, len(made), 64)]
                write_chroma(store, list(planted), np.concatenate([part.cpu().numpy() for part in parts]))
            source = unembed.open_source(store, width=inverter.dimension)
            plan = Plan(sample=None, effort=given.effort, shown=True, tag=tag, calibration=calibration)
            report = audit(source, inverter, folder / "audit", plan)
            rows = [json.loads(line) for line in (folder / "audit" / "records.jsonl").read_text().splitlines()]
            facts = {"setting": name, "n": len(rows), "queries": report["queries"] // max(1, len(rows)),
                     "estimated": report["overall"]["disclosed"], **score(planted, rows, tag),
                     "seconds": round(time.monotonic() - began)}  # fmt: skip
            print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
