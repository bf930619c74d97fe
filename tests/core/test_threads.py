"""How many threads torch computes with, and that it is put back."""

import json
import logging
import subprocess
import sys

import pytest
import torch
from torch import nn

from unembed import threads
from unembed.testing.toy import NearestWords, ToyCodec, ToyEmbedder
from unembed.threads import allowed_cpus, fitting_threads, parameters

SMALL, LARGE = nn.Linear(10, 10), nn.Linear(2000, 1500, device="meta")


@pytest.fixture(autouse=True)
def four(monkeypatch):
    """Four threads, allowed as many, and nobody has chosen."""
    for name in threads.SAID:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "allowed_cpus", lambda: 4)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    assert torch.get_num_threads() == 4
    torch.set_num_threads(before)


def test_a_small_network_takes_one_thread_and_gives_the_others_back() -> None:
    with fitting_threads(SMALL) as count:
        assert count == torch.get_num_threads() == 1
    assert torch.get_num_threads() == 4


def test_they_come_back_after_an_error_too() -> None:
    with pytest.raises(KeyError), fitting_threads(SMALL):
        raise KeyError
    assert torch.get_num_threads() == 4


def test_a_large_network_takes_those_that_its_process_may_use(monkeypatch) -> None:
    with fitting_threads(LARGE) as count:
        assert count == torch.get_num_threads() == 4
    monkeypatch.setattr(threads, "allowed_cpus", lambda: 2)
    with fitting_threads(SMALL, LARGE) as count:
        assert count == torch.get_num_threads() == 2
    monkeypatch.setattr(threads, "allowed_cpus", lambda: 64)
    with fitting_threads(LARGE) as count:
        assert count == 4  # never more than torch has


@pytest.mark.parametrize("name", threads.SAID)
def test_what_a_user_says_stays(name, monkeypatch) -> None:
    monkeypatch.setenv(name, "4")
    with fitting_threads(SMALL):
        assert torch.get_num_threads() == 4


def test_without_a_network_nothing_changes() -> None:
    with fitting_threads(ToyEmbedder(), None):
        assert torch.get_num_threads() == 4


def test_networks_are_counted_once_wherever_an_embedder_or_a_proposer_holds_them() -> None:
    box = ToyEmbedder()
    box.inner = ToyEmbedder()
    box.inner.model = SMALL
    proposer = NearestWords(ToyEmbedder(), ToyCodec())
    proposer.network, proposer.again = SMALL, [SMALL]
    assert parameters(SMALL) == parameters(box) == parameters(proposer) == 110
    assert parameters(None) == parameters("minilm") == 0


@pytest.mark.parametrize(
    ("written", "cpus"),
    [("max 100000", 8), ("200000 100000", 2), ("50000 100000", 1), ("1600000 100000", 8), ("nonsense", 8)],
)
def test_the_quota_of_a_container_counts(written, cpus, monkeypatch, tmp_path) -> None:
    (tmp_path / "cpu.max").write_text(f"{written}\n")
    monkeypatch.setattr(threads, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert allowed_cpus() == cpus
    monkeypatch.setattr(threads, "QUOTA", tmp_path / "none")
    assert allowed_cpus() == 8


def test_a_training_and_the_commands_use_it(toy_plugin, tmp_path, monkeypatch, capsys) -> None:
    from unembed import cli
    from unembed.inversion.inverter import Inverter
    from unembed.training.trainer import Trainer

    seen = {}

    def watch(kind, name):
        method = getattr(kind, name)

        def watched(*args, **options):
            seen[name] = torch.get_num_threads()
            return method(*args, **options)

        monkeypatch.setattr(kind, name, watched)

    watch(Trainer, "_round")
    watch(Inverter, "inversions")
    (tmp_path / "c.toml").write_text(f'method = "toy"\noutput = "{tmp_path}/run"\nsteps = 2\n')
    assert cli._run(["train", str(tmp_path / "c.toml")]) == 0
    assert cli._run(["invert", "cafe", "--inverter", str(tmp_path / "run/checkpoint")]) == 0
    assert seen == {"_round": 1, "inversions": 1}
    logging.getLogger("unembed").setLevel(logging.NOTSET)


def test_the_program_has_waiting_threads_sleep() -> None:
    code = (
        "import json, os, sys; from unembed import cli; cli._run = lambda words: 0\n"
        "try: cli.main()\n"
        "except SystemExit: print(json.dumps([os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(found) == ["PASSIVE", False]
