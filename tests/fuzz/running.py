"""Run odd inputs through the command line and say which of them it doesn't answer as it should.

    python tests/fuzz/running.py --count 1000 --seed 7

An input may be accepted. One that isn't ends in exit code 2 and one plain line that is ours, short enough to be read;
nothing that was there before is changed. What fails is printed with the words that show it again.
"""

import argparse
import contextlib
import io
import os
import random
import shlex
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from inputs import KINDS, checkpoints

from unembed import cli
from unembed.registry import discovery

LONGEST = 400  # characters of a line


@dataclass(frozen=True)
class Answer:
    """What the command line made of some words."""

    words: list[str]
    code: int
    out: str
    err: str
    changed: list[str]

    @property
    def fault(self) -> str | None:
        """What is wrong with it, or None."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        if "Traceback" in self.err:
            return "a traceback"
        if "run again with --debug" in self.err:
            return "a raw exception"
        if self.changed:
            return f"changed {self.changed[0]}"
        if self.code == 0:
            return None
        if self.code != 2:
            return f"exit code {self.code}"
        if len(lines) != 1 or not self.err.rstrip("\n").splitlines()[-1].startswith("error: "):
            return "no single line"
        return "a line too long" if len(lines[0]) > LONGEST else None


def answer(words: list[str], folder: Path) -> Answer:
    """Run words in this process, with `folder` as what mustn't change but for new files."""
    before = contents(folder)
    out, err = io.StringIO(), io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli._run(list(words))
    after = contents(folder)
    changed = [name for name, content in before.items() if after.get(name) != content]
    return Answer(words, code, out.getvalue(), err.getvalue(), changed)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def trained(folder: Path) -> Path:
    """A toy checkpoint."""
    from unembed.config import parse
    from unembed.testing.toy import ToyRecipe
    from unembed.training import TrainConfig, Trainer

    config = {"modality": "toy", "output": folder, "steps": 2, "round_steps": 1}
    Trainer(parse(TrainConfig, config, "fuzz"), ToyRecipe({"device": "cpu", "seed": 0})).run()
    return folder / "checkpoint"


def fuzz(count: int, seed: int, folder: Path) -> tuple[Counter[str], list[tuple[str, int, Answer]]]:
    """How many inputs of each kind were tried, and those that weren't answered as they should be."""
    makers = {**KINDS, "checkpoints": partial(checkpoints, trained=trained(folder / "trained"))}
    tried: Counter[str] = Counter()
    failed = []
    here = Path.cwd()
    for number in range(count):
        kind = list(makers)[number % len(makers)]
        place = folder / str(number)
        place.mkdir()
        words = makers[kind](place, random.Random(seed * 1_000_003 + number))
        os.chdir(place)
        try:
            found = answer(words, place)
        finally:
            os.chdir(here)
        tried[kind] += 1
        if found.fault is not None:
            failed.append((kind, number, found))
    return tried, failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    real = tuple(discovery.entry_points(group=discovery.GROUP))
    toy = EntryPoint(name="toy", value="unembed.testing.toy", group="unembed")
    discovery.entry_points = lambda group: (*real, toy)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tried, failed = fuzz(given.count, given.seed, Path(folder))
    for kind, number, found in failed:
        print(
            f"{kind} {number}: {found.fault}",
            f"unembed {shlex.join(found.words)[:300]!a}",
            f"{found.err.strip()[-300:]!a}",
            sep="\n  ",
        )
    wrong = Counter(found.fault for _, _, found in failed)
    print(f"{sum(tried.values())} inputs in {time.monotonic() - began:.0f} s: {dict(tried)}")
    print(f"{len(failed)} not answered as they should be; {wrong['a traceback']} tracebacks, ", end="")
    print(f"{wrong['a raw exception']} raw exceptions")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
