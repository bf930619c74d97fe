"""A few kills over work on the toy; a hundred over all kinds of work by hand (`running.py --kills 100`)."""

import subprocess
import sys
from pathlib import Path

import pytest


def test_nothing_is_lost_or_done_twice() -> None:
    script = Path(__file__).parent / "running.py"
    command = [sys.executable, script, "--kills", "6", "--only", "toy"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "nothing lost, nothing twice" in done.stdout and "invert --out .jsonl" in done.stdout


@pytest.mark.slow
def test_both_engines_of_invert_lose_nothing() -> None:
    pytest.importorskip("ray", reason="the engine ray needs the extra ray")
    script = Path(__file__).parent / "running.py"
    command = [sys.executable, script, "--kills", "20", "--only", "bulk"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "nothing lost, nothing twice" in done.stdout and "invert --engine ray" in done.stdout
