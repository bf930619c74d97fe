"""`make reproduce`: how much of the free texts in this folder comes back, beside the committed figures.

Texts are cut to their first 16 or 32 tokens, embedded and inverted; the first `--samples` of each kind are taken. A
count of exact results has its 95 % interval (Clopper and Pearson 1934), BLEU and token F1 of all kinds together a
bootstrap one. A figure agrees where its interval and the committed one overlap: of figures that are equal in truth,
about one in 200 doesn't.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from scipy.stats import binomtest

import unembed
from unembed.inversion.bootstrap import bootstrap
from unembed.inversion.evaluation import evaluate_steps

HERE = Path(__file__).parent
TEXTS, FIGURES = HERE / "texts", HERE / "figures.json"
KINDS = {
    "support": "support messages",
    "encyclopedia": "encyclopedia articles",
    "medical": "medical notes",
    "e-mail": "e-mail",
    "records": "records of names and numbers",
    "handbook": "a handbook",
    "python": "Python's documentation",
    "science": "scientific libraries' documentation",
}
ALL = "all kinds"
AT_ONCE = 64  # texts in one search, of several kinds: faster than one of each, and still some 3 GB


def texts(kind: str) -> list[str]:
    """The passages of a kind, in the order in which samples are taken."""
    return (TEXTS / f"{kind}.txt").read_text(encoding="utf-8").splitlines()


def share(count: int, n: int) -> list[float]:
    """A share of n and its 95 % interval by Clopper and Pearson."""
    interval = binomtest(count, n).proportion_ci(0.95, "exact")
    return [count / n, interval.low, interval.high]


def measured(inverter: unembed.Inverter, length: int, kinds: list[str], samples: int, effort: str) -> dict[str, Any]:
    """Figures of each kind at one length, and of all together; intervals follow their figure."""
    signals = [inverter.codec.first(texts(kind), length)[:samples] for kind in kinds]
    steps = inverter.settings(effort).limits.steps
    (found,) = evaluate_steps(inverter, torch.cat(signals), (steps,), effort=effort, at_once=AT_ONCE)
    rows: dict[str, Any] = {}
    start = 0
    for kind, some in [*zip(kinds, signals, strict=True), (ALL, None)]:
        part = slice(None) if some is None else slice(start, start + len(some))
        start += 0 if some is None else len(some)
        exact = found.exact[part].tolist()
        rows[kind] = {"n": len(exact), "exact": share(sum(exact), len(exact))}
        for name in ("bleu", "token_f1"):
            metric = inverter.metrics[name]
            counts = metric.statistics(found.references[part], found.reconstructions[part])
            interval = bootstrap(counts, metric.aggregate) if some is None else ()
            rows[kind][name] = [metric.aggregate(counts.sum(0)), *interval]
    rows[ALL]["queries"] = found.metrics["queries_per_item"]
    return rows


def agree(one: list[float], other: list[float]) -> bool:
    """Whether two figures' intervals overlap; those without an interval always agree."""
    return len(one) < 3 or len(other) < 3 or (one[1] <= other[2] and other[1] <= one[2])


def shown(figure: list[float], percent: bool) -> str:
    """A figure and its interval, in one column's width."""
    whole = [100 * value for value in figure] if percent else figure
    return f"{whole[0]:.0f}" + (f" ({whole[1]:.0f} to {whole[2]:.0f})" if len(whole) == 3 else "")


def report(length: int, rows: dict[str, Any], committed: dict[str, Any]) -> int:
    """Print one length's table; returns how many rows don't agree with the committed ones."""
    columns = "{:<36}{:>4}  {:<18}{:<18}{:<17}{:<17}{:<16}{}"
    titles = ("exact, %", "committed", "BLEU", "committed", "token F1, %", "")
    print("\n" + columns.format(f"the first {length} tokens", "n", *titles).rstrip())
    outside = 0
    for kind, row in rows.items():
        there = committed.get(kind)
        verdict = "" if there is None else "within"
        if there is not None and not all(agree(row[name], there[name]) for name in ("exact", "bleu", "token_f1")):
            verdict, outside = "OUTSIDE", outside + 1
        old = ("", "") if there is None else (shown(there["exact"], True), shown(there["bleu"], False))
        cells = (shown(row["exact"], True), old[0], shown(row["bleu"], False), old[1], shown(row["token_f1"], True))
        print(columns.format(KINDS.get(kind, kind), row["n"], *cells, verdict).rstrip())
    print(f"{rows[ALL]['queries']:,.0f} queries per text")
    return outside


def main() -> int:
    """Measure, print the tables, and say whether they agree with the committed figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--samples", type=int, default=8, help="texts per kind and length (8; there are 75)")
    options.add_argument("--effort", default="low", help="of the search (low)")
    options.add_argument("--tokens", type=int, nargs="+", default=[16, 32], help="lengths (16 32)")
    options.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options.add_argument("--device", help="the accelerator if there is one, else the CPU")
    options.add_argument("--write", action="store_true", help="make these the committed figures of that effort")
    options.add_argument("--figures", type=Path, default=FIGURES, help=argparse.SUPPRESS)
    given = options.parse_args()
    figures = json.loads(given.figures.read_text(encoding="utf-8")) if given.figures.exists() else {}
    committed = figures.get(given.effort, {})
    began = time.monotonic()
    inverter = unembed.load("minilm", device=given.device)
    found = {}
    for length in given.tokens:
        print(f"inverting the first {length} tokens", file=sys.stderr, flush=True)
        found[str(length)] = measured(inverter, length, given.kinds, given.samples, given.effort)
    outside = 0
    for length, rows in found.items():
        there = committed.get(length, {})
        if given.kinds != list(KINDS):
            there = {kind: row for kind, row in there.items() if kind != ALL}
        outside += report(int(length), rows, there)
    device = torch.cuda.get_device_name() if inverter.embedder.device.type == "cuda" else "CPU"
    seconds = time.monotonic() - began
    print(f"\neffort {given.effort}, {device}, unembed {unembed.__version__}: {seconds:.0f} s in all")
    if given.write:
        measured_by = {"device": device, "unembed": unembed.__version__}
        figures[given.effort] = {**committed, **found, "measured": measured_by}
        given.figures.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {given.figures}")
    elif not committed:
        print(f"no figures of effort {given.effort} are committed; --write makes these the ones")
    else:
        of = committed["measured"]
        print(f"committed: {of['device']}, unembed {of['unembed']}. ", end="")
        print(f"{outside} rows lie outside." if outside else "Every figure lies within.")
        for length in found.keys() - committed.keys():
            print(f"no figures of {length} tokens are committed: those above stand alone")
    return 1 if outside and not given.write else 0


if __name__ == "__main__":
    sys.exit(main())
