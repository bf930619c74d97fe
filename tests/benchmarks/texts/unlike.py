"""Texts unlike any that the bundled inverter was trained on, to see how far it falls: one a line on standard output.

    python tests/benchmarks/texts/unlike.py code > code.txt    # the standard library of the Python that runs this
    python tests/benchmarks/texts/unlike.py salad > salad.txt  # the embedder's own words, in no order
    unembed evaluate --data code.txt --samples 512 --max-tokens 16 --effort max

Without an argument a few of each are shown.
"""

import random
import sys
import sysconfig
from pathlib import Path

LINES = 6  # of code a text
WORDS = 40  # a salad
COUNT = 4000


def code() -> list[str]:
    """Runs of six lines from modules of the standard library, indentation left out."""
    found = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        found += [" ".join(lines[at : at + LINES]) for at in range(0, len(lines) - LINES, LINES)]
    return found


def salad() -> list[str]:
    """Whole words of the embedder's vocabulary drawn evenly, so that neither grammar nor frequency helps."""
    from unembed import load_embedder

    vocabulary = load_embedder("minilm", device="cpu").tokenizer.get_vocab()
    words = sorted(word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 2)
    draw = random.Random(0)
    return [" ".join(draw.choices(words, k=WORDS)) for _ in range(COUNT)]


def main() -> None:
    """Print them in an order that is the same each time."""
    kinds = {"code": code, "salad": salad}
    for kind in sys.argv[1:] or kinds:
        texts = kinds[kind]()
        random.Random(0).shuffle(texts)
        print("\n".join(texts[: COUNT if sys.argv[1:] else 3]))


if __name__ == "__main__":
    main()
