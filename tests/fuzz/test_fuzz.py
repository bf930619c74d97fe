"""Odd inputs end in one line that says what, where and what to do: a few of each kind; more by hand (`running.py`)."""

import importlib.util
import sys
from pathlib import Path

COUNT = 60


def test_odd_inputs_end_in_one_line(toy_plugin, tmp_path) -> None:
    spec = importlib.util.spec_from_file_location("fuzz_running", Path(__file__).parent / "running.py")
    running = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_running"] = running
    spec.loader.exec_module(running)
    tried, failed = running.fuzz(COUNT, 0, tmp_path)
    assert len(tried) == 10 and tried.total() == COUNT
    assert not failed, "\n".join(f"{kind} {number}: {found.fault}: {found.err}" for kind, number, found in failed)
