"""`invert --engine ray` on a local Ray of two workers: the rows of one machine, whoever dies in the middle."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from unembed.testing.toy import toy_inverter, words

pytest.importorskip("ray", reason="the engine ray needs the extra ray")
pytestmark = pytest.mark.slow

PACED = Path(__file__).parents[1] / "kills" / "paced"
COUNT, GROUP = 60, 4
# The command line in a process of its own, with small groups: Ray's processes end with it.
SCRIPT = f"from unembed.inversion import stream; stream.CPU_AT_ONCE = {GROUP}; from unembed.cli import main; main()"


@pytest.fixture(scope="module")
def vectors(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("vectors") / "v.npy"
    np.save(path, toy_inverter().embed(words(COUNT)).numpy())
    return path


def environment_of(out, seconds, address="local"):
    return os.environ | {
        "PYTHONPATH": str(PACED), "PACED_SECONDS": str(seconds), "PACED_LOG": str(log_of(out)), "RAY_ADDRESS": address,
    }  # fmt: skip


def begin(vectors, out, *more, seconds=0.0, address="local"):
    """Start the command; what its workers do is logged beside `out`."""
    environment = environment_of(out, seconds, address)
    given = ["invert", "--vectors", vectors, "--inverter", "toy", "--effort", "low", "--out", out, *more]
    command = [sys.executable, "-c", SCRIPT, *map(str, given)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def log_of(out):
    return out.with_name(f"{out.name}.log")


def searched(out):
    """How many vectors each process searched."""
    path, found = log_of(out), Counter()
    for line in path.read_text().splitlines() if path.exists() else ():
        pid, count = map(int, line.split())
        found[pid] += count
    return found


def ended(process, code=0):
    _, err = process.communicate(timeout=200)
    assert process.returncode == code, err
    return err


def waited(condition, process, seconds=100):
    """Wait until a condition holds, while the process goes on."""
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)


def rows(folder):
    return [row for part in sorted(folder.glob("rows-*.parquet")) for row in pq.read_table(part).to_pylist()]


@pytest.fixture(scope="module")
def whole(vectors, tmp_path_factory):
    """What one machine makes of the vectors."""
    out = tmp_path_factory.mktemp("whole") / "r.parquet"
    ended(begin(vectors, out))
    return pq.read_table(out).to_pylist()


ON_RAY = ("--engine", "ray", "--workers", 2, "--device", "cpu")


def test_two_workers_give_the_rows_of_one_machine(vectors, whole, tmp_path) -> None:
    out = tmp_path / "parts"
    err = ended(begin(vectors, out, *ON_RAY, seconds=0.2))
    assert rows(out) == whole and f"{COUNT} reconstructions" in err
    found = searched(out)
    assert len(found) == 2 and found.total() == COUNT and min(found.values()) >= COUNT // 4
    assert ended(begin(vectors, out, *ON_RAY)) and searched(out).total() == COUNT


def test_a_worker_that_dies_loses_and_repeats_nothing(vectors, whole, tmp_path) -> None:
    out = tmp_path / "parts"
    process = begin(vectors, out, *ON_RAY, seconds=0.2)
    waited(lambda: searched(out).total() >= 12, process)
    os.kill(next(iter(searched(out))), signal.SIGKILL)
    err = ended(process)
    assert rows(out) == whole and f"{COUNT} reconstructions" in err
    found = searched(out)
    assert len(found) == 3 and COUNT <= found.total() <= COUNT + 2 * GROUP


def test_a_job_that_is_killed_goes_on_with_what_is_missing(vectors, whole, tmp_path) -> None:
    out = tmp_path / "parts"
    process = begin(vectors, out, *ON_RAY, seconds=0.2)
    waited(lambda: len(rows(out)) >= 12, process)
    process.kill()
    process.communicate(timeout=60)
    before = len(rows(out))
    assert before < COUNT
    err = ended(begin(vectors, out, *ON_RAY, seconds=0.0))
    assert rows(out) == whole and f"{COUNT} reconstructions" in err and f"{before} of them before" in err
    assert searched(out).total() <= COUNT + 4 * GROUP


@pytest.mark.parametrize(
    ("more", "says"),
    [(("--workers", 1000), "the Ray cluster has"), (("--device", "cuda:1"), "cuda or cpu")],
)
def test_what_the_cluster_lacks_is_said_in_one_line(vectors, tmp_path, more, says) -> None:
    err = ended(begin(vectors, tmp_path / "parts", "--engine", "ray", *more), code=2)
    assert says in err and len(err.splitlines()) == 1


def test_a_block_that_kills_its_workers_ends_the_job(vectors, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PACED_DIES", "1")
    err = ended(begin(vectors, tmp_path / "parts", *ON_RAY), code=1)
    assert "3 Ray workers died over the vectors from" in err and len(err.splitlines()) == 1
    assert rows(tmp_path / "parts") == []


def test_a_cluster_that_runs_is_used(vectors, whole, tmp_path, monkeypatch) -> None:
    out, ray, port = tmp_path / "parts", Path(sys.executable).with_name("ray"), 26379
    command = [ray] if ray.exists() else [sys.executable, "-c", "from ray.scripts.scripts import main; main()"]
    with tempfile.TemporaryDirectory(prefix="ray") as folder:  # a short name, for sockets
        words = ["start", "--head", "--block", "--num-cpus=2", "--num-gpus=0", f"--port={port}"]
        words += ["--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={folder}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", uuid.uuid4().hex)  # of this cluster alone
        cluster = subprocess.Popen([*command, *words], env=environment_of(out, 0.0), start_new_session=True, **quiet)
        try:
            waited(lambda: any(Path(folder).glob("session_2*/sockets/plasma_store")), cluster)
            time.sleep(3)
            ended(begin(vectors, out, "--engine", "ray", address=f"127.0.0.1:{port}"))
            assert cluster.poll() is None
        finally:
            cluster.terminate()
            cluster.wait(60)
    assert rows(out) == whole and len(searched(out)) == 2
