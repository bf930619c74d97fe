"""Count the files and calls of ours that one vector passes from command to row, and one passage from file to loss.

    python tests/benchmarks/walk.py [--start T5_OR_CHECKPOINT]

Calls are counted by the interpreter's profiler. A crossing is a call into another file, or the return from it.
"""

import argparse
import sys
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import CodeType, FrameType

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
ANONYMOUS = ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>", "<module>")


class Walk:
    """A profiler that counts what happens in the files of `core` and `plugins`."""

    def __init__(self) -> None:
        self.calls = self.crossings = 0
        self.functions: set[CodeType] = set()
        self.stack: list[str] = []

    def __enter__(self) -> "Walk":
        sys.setprofile(self._event)
        return self

    def __exit__(self, *error: object) -> None:
        sys.setprofile(None)

    def _event(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        ours = code.co_filename.startswith((f"{ROOT}/core", f"{ROOT}/plugins")) and code.co_name not in ANONYMOUS
        if not ours or event not in ("call", "return"):
            return
        before = self.stack[-1] if self.stack else None
        if event == "call":
            self.calls += 1
            self.functions.add(code)
            self.stack.append(code.co_filename)
            now: str | None = code.co_filename
        else:
            before = self.stack.pop() if self.stack else None
            now = self.stack[-1] if self.stack else None
        self.crossings += before is not None and now is not None and before != now

    def __str__(self) -> str:
        files = {code.co_filename for code in self.functions}
        return f"{len(files)} files, {len(self.functions)} functions, {self.calls} calls, {self.crossings} crossings"


def vector(folder: Path) -> Walk:
    """`unembed invert --vectors`, one vector of eight tokens, no steps."""
    import torch

    import unembed
    from unembed.cli import root

    torch.set_num_threads(1)
    unembed.load("minilm", device="cpu")  # libraries are imported outside the count
    np.save(
        folder / "one.npy", unembed.load("minilm", device="cpu").embed(["she moved to lisbon in march 2019"]).numpy()
    )
    words = ["invert", "--vectors", str(folder / "one.npy"), "--steps", "0", "--beam", "8", "--json", "--device", "cpu"]
    with Walk() as walk, redirect_stdout(StringIO()):
        root.main(args=words, prog_name="unembed", standalone_mode=False)
    return walk


def passage(folder: Path, start: str) -> Walk:
    """Two steps of training on one short file: reading, tokens, hypotheses, loss."""
    from unembed.training import train

    (folder / "texts.txt").write_text("She moved to Lisbon in March. The lake was covered in ice.\n" * 4)
    texts = f'["{folder / "texts.txt"}"]'
    small = {"layers": 1, "batch_tokens": 64, "longest": 8, "shares": [1], "held_out": 1}
    run = {"steps": 2, "round_steps": 2, "guess_steps": 0, "depth": 1, "save_every": 9, "evaluate_every": 9}
    changes = [
        *(f'output="{folder / "run"}"', f'recipe.start="{start}"', 'precision="no"', "compile=false"),
        *(f"recipe.train={texts}", f"recipe.validation={texts}"),
        *(f"recipe.{key}={value}" for key, value in small.items()),
        *(f"{key}={value}" for key, value in run.items()),
    ]
    with Walk() as walk:
        train(ROOT / "examples/train_minilm.toml", overrides=changes)
    return walk


def main() -> None:
    """Print both walks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--start", default=str(ROOT.parent / "shared/models/t5-small"), help="the network to train from"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print(f"a vector:  {vector(Path(name))}")
        if Path(arguments.start).exists():
            print(f"a passage: {passage(Path(name), arguments.start)}")


if __name__ == "__main__":
    main()
