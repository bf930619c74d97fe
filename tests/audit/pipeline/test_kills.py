"""An audit that is killed again and again, at any moment, ends with every record once."""

import os
import random
import signal
import sys
import time
import warnings

import numpy as np
import pytest

from unembed_audit.pipeline.ledger import Ledger, read_rows
from unembed_audit.pipeline.run import Detectors, Recovered, run
from unembed_audit.pipeline.sampling import Chosen, Stratum

RECORDS, KILLS = 2000, 50


def audit(folder):
    """The audit's loop and ledger with an inverter that knows the answers."""
    records = [
        Chosen(f"id-{row}", row, Stratum("notes" if row % 3 else "mail", row % 5 == 0), np.full(2, row, np.float32))
        for row in range(RECORDS)
    ]

    def invert(batches):
        place = 0
        for batch in batches:
            for offset in reversed(range(len(batch))):
                yield Recovered(place + offset, f"number {int(batch[offset, 0])}", 1.0, 0.9)
            place += len(batch)

    detectors = Detectors(same=lambda a, b: [True] * len(a), tokens=lambda texts: [2] * len(texts), show=True)
    with Ledger(folder, {"seed": 0}) as ledger:
        run(records, invert=invert, ledger=ledger, detectors=detectors, total=len(records), batch=16)


def size(path):
    return path.stat().st_size if path.exists() else 0


def start(folder):
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # Python 3.12 and Lance warn of forking; the child uses neither threads nor Lance
        child = os.fork()
    if child == 0:
        try:
            audit(folder)
        finally:
            os._exit(0)
    return child


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_fifty_kills_of_an_audit_lose_nothing_and_repeat_nothing(tmp_path):
    draw, path, cut = random.Random(0), tmp_path / "records.jsonl", 0
    for _ in range(KILLS):
        before, wanted = size(path), draw.randrange(1, 4000)
        child = start(tmp_path)
        until = time.monotonic() + 60
        while size(path) < before + wanted and time.monotonic() < until:
            time.sleep(draw.uniform(0, 0.0005))
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL, "the audit ended before it was killed often enough"
        assert size(path) > before
        if draw.random() < 0.5:  # as a crash of the machine would leave it: the last line in part
            data = path.read_bytes()
            os.truncate(path, draw.randrange(data[:-1].rfind(b"\n") + 1, len(data)))
            cut += 1
    assert cut > 10 and 0 < len(path.read_bytes().splitlines()) < RECORDS
    child = start(tmp_path)
    assert os.waitpid(child, 0)[1] == 0
    rows = list(read_rows(tmp_path))
    assert sorted(row["row"] for row in rows) == list(range(RECORDS))
    assert all(row["text"] == f"number {row['row']}" and row["id"] == f"id-{row['row']}" for row in rows)
