"""A few kills over work on the toy; more, over all kinds of work, by hand (`running.py --kills 100`)."""

import subprocess
import sys
from pathlib import Path


def killed(count: int, only: str) -> str:
    script = Path(__file__).parent / "running.py"
    command = [sys.executable, script, "--kills", str(count), "--only", only]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "nothing lost, nothing twice" in done.stdout
    return done.stdout


def test_nothing_is_lost_or_done_twice() -> None:
    assert "invert --out .jsonl" in killed(6, "toy")
