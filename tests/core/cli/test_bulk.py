"""`invert` of many: order, sample, what is said of the pace, and engines."""

import json
import sys
from functools import partial
from importlib.metadata import EntryPoint
from types import ModuleType

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console

from unembed import EngineSpec, hookimpl
from unembed.bulk.worker import Worker
from unembed.cli._progress import rows_progress
from unembed.costs.pace import Progress
from unembed.engine.loop import Step
from unembed.inversion.inverter import Inverter
from unembed.testing.toy import toy_inverter, words

COUNT = 23


class Here:
    """An engine whose one worker is this process; after `limit` blocks the process is as good as dead."""

    limit = 10**9
    device = "cpu"

    def __init__(self, workers, device):
        self.workers = workers or 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run(self, work, blocks):
        worker, waiting = Worker(work), list(blocks)
        for number, block in enumerate(reversed(waiting)):  # any order is allowed
            if number == Here.limit:
                raise KeyboardInterrupt
            yield block.first, worker.rows(block)


@pytest.fixture
def engine(install, monkeypatch):
    """The toy, and an engine `here`."""
    module = ModuleType("here_engine")

    @hookimpl
    def register_engines():
        return [EngineSpec("here", "this process", Here)]

    module.register_engines = register_engines
    monkeypatch.setitem(sys.modules, "here_engine", module)
    monkeypatch.setattr(Here, "limit", 10**9)
    toy = EntryPoint(name="toy", value="unembed.testing.toy", group="unembed")
    install(toy, EntryPoint(name="here", value="here_engine", group="unembed"))
    return Here


@pytest.fixture
def many(tmp_path, monkeypatch):
    monkeypatch.setattr("unembed.inversion.stream.CPU_AT_ONCE", 3)
    path = tmp_path / "v.jsonl"
    vectors = toy_inverter().embed(words(COUNT)).tolist()
    rows = [{"id": f"doc-{n}", "embedding": vectors[n], "size": n * 7 % COUNT} for n in range(COUNT)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def command(vectors, *more):
    return ("invert", "--vectors", vectors, "--inverter", "toy", "--effort", "low", *more)


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def same(table, lines):
    return [{key: value for key, value in row.items() if key in lines[0]} for row in table] == [
        {key: value for key, value in row.items() if key != "run"} for row in lines
    ]


def test_a_sample_in_an_order_goes_on_where_it_stopped(run, toy_plugin, many, tmp_path, monkeypatch) -> None:
    chosen = ("--sample", 11, "--order", "by:-size", "--seed", 5)
    assert run(*command(many, "--out", tmp_path / "whole.jsonl", *chosen))[0] == 0
    whole = rows(tmp_path / "whole.jsonl")
    sizes = [int(row["id"].removeprefix("doc-")) * 7 % COUNT for row in whole]
    assert len(whole) == 11 and sizes == sorted(sizes, reverse=True)
    invert, seen = Inverter.invert, []

    def dies(self, vectors, **options):
        seen.append(len(vectors))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return invert(self, vectors, **options)

    monkeypatch.setattr(Inverter, "invert", dies)
    assert run(*command(many, "--out", tmp_path / "r.jsonl", *chosen))[0] == 130
    assert run(*command(many, "--out", tmp_path / "r.jsonl", *chosen))[0] == 0
    assert rows(tmp_path / "r.jsonl") == whole and sum(seen) == 11 + 3
    for other in (("--sample", 12), ("--order", "random"), ("--sample", 11)):
        code, _, err = run(*command(many, "--out", tmp_path / "r.jsonl", *other))
        assert code == 2 and "holds results of other inputs" in err


def test_the_pace_is_said_on_standard_error_alone(run, toy_plugin, many, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules["unembed.cli.invert.command"], "QUIET", 0.0)
    code, out, err = run(*command(many, "--sample", 9, "--json"))
    assert code == 0 and len(out.splitlines()) == 9
    assert "0 of 9 vectors, a rate and an estimate follow" in err and "3 of 9 vectors, " in err
    assert "a minute, about" in err and "left" in err


def test_on_a_terminal_a_bar_has_the_pace_and_the_step(monkeypatch, capsys) -> None:
    monkeypatch.setattr("rich.console.Console", partial(Console, force_terminal=True, width=150))
    with rows_progress("vectors") as bar:
        bar(Progress(4, 0, 12, 2.0))
        bar.step(Step(3, torch.zeros(2, 1), torch.tensor([0.5, 1.0]), torch.zeros(2), 1))
    shown = capsys.readouterr().err
    assert "4/12" in shown and "120 a minute, about 4 s left; step 3, similarity 0.750, 1 unsolved" in shown


def test_what_a_dry_run_forecasts_is_the_sample(run, toy_plugin, many) -> None:
    queries = [
        json.loads(run(*command(many, "--dry-run", "--json", "--max-queries", 10, *more))[1])["queries"]
        for more in ((), ("--sample", 4), ("--sample", 400))
    ]
    assert queries == [10 * COUNT, 40, 10 * COUNT]


@pytest.mark.parametrize("more", [(), ("--order", "random"), ("--sample", 14, "--order", "deleted")])
def test_an_engine_gives_the_rows_of_one_machine_in_parts(run, engine, many, tmp_path, more) -> None:
    assert run(*command(many, "--out", tmp_path / "r.jsonl", *more))[0] == 0
    engine.limit = 2
    assert run(*command(many, "--out", tmp_path / "parts", "--engine", "here", *more))[0] == 130
    engine.limit = 10**9
    code, _, err = run(*command(many, "--out", tmp_path / "parts", "--engine", "here", *more))
    lines = rows(tmp_path / "r.jsonl")
    assert code == 0 and f"{len(lines)} reconstructions written" in err and "of them before" in err
    parts = sorted((tmp_path / "parts").glob("*.parquet"))
    assert len(parts) == -(-len(lines) // 3) and same(
        [row for part in parts for row in pq.read_table(part).to_pylist()], lines
    )


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--engine", "fire", "--out", "parts"), "no engine 'fire'; known: here, ray"),
        (("--engine", "here"), "needs a folder for its results"),
        (("--engine", "here", "--out", "v.jsonl"), "can't be a folder"),
        (("--engine", "here", "--out", "parts", "--max-cost", 1), "--max-cost can't be held"),
        (("--workers", 2), "--workers belongs to --engine"),
        (("--order", "shortest"), "no order 'shortest'"),
        (("--order", "by:colour"), "no record has that field; they have id, size"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(run, engine, many, tmp_path, monkeypatch, more, says) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*command(many, *more))
    assert code == 2 and says in err and len(err.splitlines()) == 1, err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.jsonl"]


def test_an_engine_takes_no_texts(run, engine, tmp_path) -> None:
    code, _, err = run("invert", "cafe", "--inverter", "toy", "--engine", "here", "--out", tmp_path / "parts")
    assert code == 2 and "is for --vectors" in err
    code, _, err = run("invert", "cafe", "--inverter", "toy", "--sample", 3)
    assert code == 2 and "--sample belongs to --vectors" in err


def test_vectors_of_a_file_in_another_order_keep_their_numbers(run, toy_plugin, tmp_path) -> None:
    np.save(tmp_path / "v.npy", toy_inverter().embed(words(9)).numpy())
    code, out, _ = run(*command(tmp_path / "v.npy", "--order", "random", "--json"))
    found = {row["index"]: row["reconstruction"] for row in map(json.loads, out.splitlines())}
    plain = [json.loads(line)["reconstruction"] for line in run(*command(tmp_path / "v.npy", "--json"))[1].splitlines()]
    assert code == 0 and list(found) != sorted(found) and [found[n] for n in range(9)] == plain
