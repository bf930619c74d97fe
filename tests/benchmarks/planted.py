"""The whole chain on planted records: how many names and numbers an audit finds, and how many findings are right.

    planted.py                                # 12 records of up to 16 tokens at effort low: a few minutes on a CPU
    planted.py --count 1000 --tokens 16 24 32 --chunks 64 128 --effort max     # the table, on a GPU

Invented records are embedded and planted in a Chroma store without documents; `unembed audit` reads it, inverts and
reports, and its findings are compared with what was planted. Prints a JSON line for each setting, then the table.
`names` and `numbers` are the shares of planted names, and of planted spans with a digit, that are among the findings;
`precision` is that of all findings, `precision_likely` that of those whose estimated support is at least one half. Each
with its 95 % interval. `exact` is the share of texts that come back word for word.

`--without-store` embeds and inverts alone, and needs no library of the extra `audit`. Where they are missing it keeps
what it inverted under `--keep`; the same command scores that where they are installed, without another search. These
files also serve `python -m unembed_audit.pipeline.calibrating --inversions`.
"""

import argparse
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np

import unembed
from unembed.inversion.keeping import Lines
from unembed_audit.auditing import Plan, audit
from unembed_audit.commands.opening import open_calibration, open_tagger
from unembed_audit.findings.detect import Tag, detect_all
from unembed_audit.findings.support import SpanCalibration, normalised, supported
from unembed_audit.invented import Planted, chunks, invented
from unembed_audit.pipeline.calibrating import invert_texts, together
from unembed_audit.pipeline.comparing import words_of
from unembed_audit.plugin import LIBRARIES
from unembed_audit.report.rates import wilson

Row = dict[str, object]

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
    folder.mkdir(parents=True)
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


def audited(
    inverter: unembed.Inverter,
    made: dict[str, Planted],
    folder: Path,
    plan: Plan,
    over: Callable[[], bool],
) -> list[Row]:
    """The rows of an audit of a store in which those records are planted, as many as there is time for."""
    store = folder / "chroma"
    if not store.exists():
        texts = [one.text for one in made.values()]
        parts = [inverter.embed(texts[i : i + 64]).cpu().numpy() for i in range(0, len(texts), 64)]
        write_chroma(store, list(made), np.concatenate(parts))

    def on_progress(_: object) -> None:
        if over():
            raise KeyboardInterrupt

    source = unembed.open_source(store, width=inverter.dimension)
    try:
        audit(source, inverter, folder / "audit", plan, on_progress=on_progress)
    except KeyboardInterrupt:
        if not over():
            raise
    rows = [json.loads(line) for line in (folder / "audit" / "records.jsonl").read_text().splitlines()]
    return [row | {"exact": same(inverter, made[row["id"]].text, row["text"])} for row in rows]


def inverted(
    inverter: unembed.Inverter,
    made: dict[str, Planted],
    folder: Path,
    plan: Plan,
    over: Callable[[], bool],
) -> list[Row]:
    """Rows of those records, embedded and inverted without a store; findings only where their libraries are."""
    folder.mkdir(parents=True, exist_ok=True)
    with Lines(folder / "inversions.jsonl") as lines:
        found = list(lines.rows())
        left = [one.text for one in made.values()][len(found) :]
        for row in invert_texts(inverter, left, effort=plan.effort, seed=plan.seed):
            lines.append([row])
            found.append(row)
            if over():
                break
    rows = []
    for (name, one), row in zip(made.items(), found, strict=False):
        exact = same(inverter, one.text, row["recovered"])
        rows.append({"id": name, "text": row["recovered"], "queries": row["queries"], "exact": exact})
        if not missing():
            rows[-1]["findings"] = weighed(row, plan.tag, plan.calibration)
    return rows


def weighed(row: Row, tag: Tag | None, calibration: SpanCalibration | None) -> list[Row]:
    """What is found in a text that came back."""
    (found,) = detect_all([row["recovered"]], tag=tag)
    given = {"candidates": row["candidates"], "similarity": row["similarities"], "confidence": row["confidence"]}
    return [
        {"kind": one.kind, "value": one.value, "support": one.support}
        for one in supported(found, **given, calibration=calibration)
    ]


def same(inverter: unembed.Inverter, original: str, recovered: str) -> bool:
    """Whether a text came back whole."""
    codec = inverter.codec
    if codec.lengths([original])[0] > codec.width:
        return False
    return bool((codec.encode([original]) == codec.encode([recovered])).all())


def missing() -> list[str]:
    """Libraries without which nothing can be found in a text."""
    return [name for name in LIBRARIES if find_spec(name) is None]


def within(wanted: Sequence[str], words: Sequence[str]) -> bool:
    """Whether words stand in a row among others."""
    size = len(wanted)
    return bool(size) and any(list(words[i : i + size]) == list(wanted) for i in range(len(words) - size + 1))


def holds(findings: list[Row], value: str, kinds: tuple[str, ...] | None) -> bool:
    """Whether a finding (of one of those kinds) has the value: all its words, or letters and digits that are equal."""
    wanted = words_of(value)
    return any(
        within(wanted, words_of(one["value"])) or normalised(one["value"]) == normalised(value)
        for one in findings
        if kinds is None or one["kind"] in kinds
    )


def score(planted: dict[str, Planted], rows: list[Row], tag: Tag | None) -> dict[str, object]:
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
            ok = within(words_of(finding["value"]), words) or any(
                normalised(finding["value"]) == normalised(other.value) for other in true
            )
            found, right = found + 1, right + ok
            if (finding["support"] or 0) >= 0.5:
                likely, likely_right = likely + 1, likely_right + ok
    shares = {"names": (named, names), "numbers": (numbered, numbers), "precision": (right, found),
              "precision_likely": (likely_right, likely)}  # fmt: skip
    return {name: wilson(*counts).as_dict() for name, counts in shares.items()}


COLUMNS = {"exact": "texts word for word", "names": "names found", "numbers": "numbers found",
           "precision": "findings right", "precision_likely": "likely ones right"}  # fmt: skip


def table(settings: list[dict]) -> str:
    """The settings as a table of the docs has them."""
    lines = ["| records of | n | queries | " + " | ".join(COLUMNS.values()) + " |", "|---" * (3 + len(COLUMNS)) + "|"]
    for one in settings:
        cells = [
            "–"
            if name not in one or one[name]["share"] is None
            else f"{100 * one[name]['share']:.0f} % ({100 * one[name]['low']:.0f} to {100 * one[name]['high']:.0f})"
            for name in COLUMNS
        ]
        lines.append(f"| {one['setting']} | {one['n']} | {one['queries']:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print a JSON line for each length and chunk, then a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=12, help="records of each setting (12)")
    options.add_argument("--tokens", type=int, nargs="*", default=[16], help="longest record, in tokens (16)")
    options.add_argument("--chunks", type=int, nargs="*", default=[], help="passages of about so many tokens")
    options.add_argument("--effort", default="low", help="of the search (low)")
    options.add_argument("--inverter", default="minilm", help="a name, or a checkpoint's folder (minilm)")
    options.add_argument("--seed", type=int, default=11)
    options.add_argument("--device", help="cpu or cuda")
    options.add_argument(
        "--keep", type=Path, help="folder that keeps stores, audits, inversions: a stopped run goes on"
    )
    options.add_argument("--without-store", action="store_true", help="embed and invert, with no store and no audit")
    options.add_argument("--minutes", type=float, help="stop after so long, and score what was done")
    options.add_argument("--out", type=Path, help="file for the results, as JSON")
    given = options.parse_args()
    if missing() and not given.without_store:
        options.error(f"{', '.join(missing())} not installed: install the extra audit, or give --without-store")
    began = time.monotonic()
    inverter = unembed.load(given.inverter, device=given.device)
    tag = None if missing() else open_tagger(given.device)
    calibration = open_calibration(inverter)
    plan = Plan(sample=None, effort=given.effort, shown=True, tag=tag, calibration=calibration, seed=given.seed,
                batch=together(inverter, given.effort))  # fmt: skip

    def over() -> bool:
        return given.minutes is not None and time.monotonic() - began > 60 * given.minutes

    settings = [(tokens, False) for tokens in given.tokens] + [(tokens, True) for tokens in given.chunks]
    done: list[dict] = []
    with tempfile.TemporaryDirectory() as temporary:
        for tokens, chunk in settings:
            if over():
                break
            start = time.monotonic()
            name = f"{'chunk' if chunk else 'records'}-{tokens}-{given.count}-{given.effort}-{given.seed}"
            folder = (given.keep or Path(temporary)) / name
            source = records(inverter, tokens, chunk=chunk, seed=given.seed)
            made = {f"planted-{place:04}": one for place, one in enumerate(islice(source, given.count))}
            rows = (inverted if given.without_store else audited)(inverter, made, folder, plan, over)
            label = f"{'about' if chunk else 'up to'} {tokens} tokens"
            facts = {"setting": label, "effort": given.effort, "n": len(rows), "of": given.count,
                     "queries": sum(row["queries"] for row in rows) // max(1, len(rows)),
                     "exact": wilson(sum(row["exact"] for row in rows), len(rows)).as_dict(),
                     **({} if missing() else score(made, rows, tag)),
                     "seconds": round(time.monotonic() - start)}  # fmt: skip
            done.append(facts)
            print(json.dumps(facts), flush=True)
            if given.out is not None:
                given.out.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
    print(f"\n{table(done)}")
    if missing():
        print(f"\nnothing was looked for: {', '.join(missing())} not installed. The same command scores what "
              f"{given.keep or '--keep'} holds where the extra audit is.")  # fmt: skip


if __name__ == "__main__":
    main()
