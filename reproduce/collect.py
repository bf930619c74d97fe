"""Writes the free test texts, one file a kind: `python reproduce/collect.py --handbook FOLDER [--against FILE …]`.

FOLDER holds the HTML pages of The Debian Administrator's Handbook in English (package debian-handbook). Passages that
share a run of 8 words with a file of `--against` (Parquet with a column `text`) are left out: those are the texts that
the bundled inverter was trained on.
"""

import argparse
import ast
import html
import random
import re
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq
from invented import KINDS, passages

from unembed_audit.invented import chunks

OUT = Path(__file__).parent / "texts"
COUNT, RUN = 75, 8
LEAST, MOST = 34, 75  # words and signs: enough for 32 tokens, no more than is needed
PLAIN = re.compile(r"[A-Z][^`*_<>{}|\\=\[\]#@$%^~]*[.!?]")


def size(text: str) -> int:
    """How many words and signs a text has; no tokenizer makes fewer tokens of it."""
    return len(re.findall(r"\w+|[^\w\s]", text))


def paragraphs(text: str) -> Iterator[str]:
    """Paragraphs of running prose; code, lists, tables and markup are left out."""
    for part in re.split(r"\n\s*\n", text):
        line = re.sub(r"``?([^`]*)`?`", r"\1", " ".join(part.split()))
        if size(line) > MOST:  # as many whole sentences as are needed
            ends = (end for end in re.finditer(r"[.!?](?= [A-Z])", line) if size(line[: end.end()]) >= LEAST)
            line = line[: end.end()] if (end := next(ends, None)) else ""
        if LEAST <= size(line) <= MOST and PLAIN.fullmatch(line) and ">>>" not in line:
            yield line


def docstrings(files: Iterable[Path]) -> Iterator[str]:
    """The prose of the docstrings of Python files."""
    for file in files:
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield from paragraphs(ast.get_docstring(node) or "")


def package(name: str) -> list[Path]:
    """The Python files of an installed distribution, its tests left out."""
    found = distribution(name)
    return [
        Path(found.locate_file(file))
        for file in found.files or ()
        if file.suffix == ".py" and "tests" not in file.parts
    ]


def handbook(folder: Path) -> Iterator[str]:
    """The paragraphs of the handbook's pages."""
    for page in sorted(folder.glob("*.html")):
        for match in re.findall(r'<div class="para">(.*?)</div>', page.read_text(encoding="utf-8"), re.DOTALL):
            yield from paragraphs(html.unescape(re.sub(r"<[^>]+>", "", match)))


def runs(text: str) -> Iterator[str]:
    """Every run of 8 words."""
    words = re.findall(r"\w+", text.lower())
    return (" ".join(words[start : start + RUN]) for start in range(len(words) - RUN + 1))


def trained_on(candidates: dict[str, list[str]], files: Iterable[Path]) -> set[str]:
    """The runs of the candidates that occur in the files."""
    wanted = {run for texts in candidates.values() for text in texts for run in runs(text)}
    found: set[str] = set()
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(columns=["text"]):
            for text in batch.column(0).to_pylist():
                found.update(wanted.intersection(runs(text)))
    return found


def main() -> None:
    """Gather candidates, leave out what was trained on, write the files."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--handbook", type=Path, required=True)
    options.add_argument("--against", type=Path, nargs="*", default=[])
    given = options.parse_args()
    library = Path(sysconfig.get_path("stdlib"))
    stdlib = [
        path for path in sorted(library.rglob("*.py")) if not {"site-packages", "test", "idlelib"} & {*path.parts}
    ]
    science = [path for name in ("scipy", "scikit-learn", "networkx") for path in package(name)]
    found = {
        "handbook": handbook(given.handbook),
        "python": docstrings(stdlib),
        "science": docstrings(science),
    }
    draw = random.Random(0)
    candidates = {}
    for kind, texts in found.items():
        unique = sorted(set(texts))
        draw.shuffle(unique)
        candidates[kind] = unique[: 3 * COUNT]
    for kind in KINDS:
        enough = (text for text in passages(kind) if size(text) >= LEAST)
        candidates[kind] = list(islice(enough, 2 * COUNT))
    candidates["records"] = [one.text for one in islice(chunks(seed=42, words=LEAST), 2 * COUNT)]
    known = trained_on(candidates, given.against)
    for kind, texts in candidates.items():
        free = [text for text in texts if not known.intersection(runs(text))]
        whole = [text for text in free if "--" not in text and " : " not in text]  # no headings or lists
        print(f"{kind}: {len(texts) - len(free)} of {len(texts)} share {RUN} words with a training text")
        if len(whole) < COUNT:
            raise SystemExit(f"{kind}: only {len(whole)} passages are left of the {COUNT} wanted")
        (OUT / f"{kind}.txt").write_text("\n".join(whole[:COUNT]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
