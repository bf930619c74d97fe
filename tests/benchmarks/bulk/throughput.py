"""Vectors a second by length and effort on this device: `python tests/benchmarks/bulk/throughput.py --out rates.json`.

Free texts of reproduce/texts are cut to so many tokens, embedded and inverted as `unembed invert` does it: in groups as
large as the program chooses, after one group to warm up. On a GPU the share of the time that it was busy is what
nvidia-smi says, sampled five times a second. `simulate.py` reads the file that this writes.
"""

import argparse
import json
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import unembed
from unembed.defaults import ACCELERATOR_CHUNK_SIZE, CHUNK_SIZE
from unembed.threads import fitting_threads

TEXTS = Path(__file__).parents[3] / "reproduce" / "texts"


class Busy:
    """The mean share of the time in which the GPU had something to do, None without nvidia-smi; a context manager."""

    share: float | None = None

    def __enter__(self):
        self._found: list[float] = []
        self._process = None
        if torch.cuda.is_available():
            query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=200"]
            place = [f"--id={torch.cuda.current_device()}"]
            try:
                self._process = subprocess.Popen([*query, *place], stdout=subprocess.PIPE, text=True)
            except OSError:
                return self
            threading.Thread(target=self._read, daemon=True).start()
        return self

    def _read(self) -> None:
        for line in self._process.stdout:
            if line.strip().isdigit():
                self._found.append(int(line) / 100)

    def __exit__(self, *_):
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        if self._found:
            self.share = sum(self._found) / len(self._found)


def signals_of(inverter: unembed.Inverter, tokens: int, count: int) -> torch.Tensor:
    """The first `count` of all kinds' texts by turns, as signals of so many tokens; again from the first after all."""
    kinds = [path.read_text(encoding="utf-8").splitlines() for path in sorted(TEXTS.glob("*.txt"))]
    mixed = [text for row in zip(*kinds, strict=False) for text in row]
    signals = inverter.codec.first(mixed, tokens)
    return signals.repeat(-(-count // len(signals)), 1)[:count]


def measured(
    inverter: unembed.Inverter, effort: str, tokens: int, count: int | None, groups: int, at_once: int | None
) -> dict[str, Any]:
    """One row: a warm group, then `groups` of them, or `count` vectors."""
    settings, device = inverter.settings(effort), inverter.embedder.device
    size = at_once or inverter.at_once(settings)
    size = size if count is None else min(size, count)
    total = size * groups if count is None else count
    signals = signals_of(inverter, tokens, total)
    vectors = inverter.embedder.embed(signals)

    def run(part: torch.Tensor) -> list[Any]:
        found = list(inverter.stream([part], effort=settings, at_once=size))
        if device.type == "cuda":
            torch.cuda.synchronize()
        return found

    run(vectors[: size if device.type != "cpu" else 2])
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with Busy() as busy:
        began = time.perf_counter()
        rows = run(vectors)
        seconds = time.perf_counter() - began
    texts = inverter.codec.decode(signals)
    return {
        "effort": effort,
        "tokens": tokens,
        "vectors": total,
        "at_once": size,
        "seconds": round(seconds, 3),
        "rate": total / seconds,
        "queries": sum(row["queries"] for row in rows) / total,
        "solved": sum(row["stopped"] == "solved" for row in rows) / total,
        "exact": sum(row["reconstruction"] == text for row, text in zip(rows, texts, strict=True)) / total,
        "busy": busy.share,
        "memory": torch.cuda.max_memory_allocated() if device.type == "cuda" else None,
    }


def reading(count: int, width: int) -> float:
    """Vectors a second that are read of a .npy file, with all checks."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v.npy"
        found = np.lib.format.open_memmap(path, "w+", np.float32, (count, width))
        for first in range(0, count, 10_000):
            rows = np.random.default_rng(first).normal(size=(min(10_000, count - first), width))
            found[first : first + len(rows)] = rows
        found.flush()
        source = unembed.open_source(path, width=width, payloads=False)
        began = time.perf_counter()
        assert sum(len(batch) for batch in source.batches(1024)) == count
        return count / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inverter", default="minilm")
    parser.add_argument("--device")
    parser.add_argument("--tokens", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--efforts", nargs="+", default=["low", "medium"])
    parser.add_argument("--count", type=int, help="vectors of a row, in place of --groups")
    parser.add_argument("--groups", type=int, default=4, help="groups of a row, each as large as the program chooses")
    parser.add_argument("--at-once", type=int, nargs="+", help="vectors of a group, in place of the program's choice")
    parser.add_argument("--read", type=int, default=200_000, help="vectors to read")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    began = time.perf_counter()
    inverter = unembed.load(given.inverter, device=given.device)
    device = inverter.embedder.device
    inverter.invert(inverter.embed([inverter.codec.probes[0]]), effort="low", steps=1)
    opened = time.perf_counter() - began
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    with fitting_threads(inverter.embedder, inverter.hypothesizer, inverter.corrector, inverter.editor):
        found: dict[str, Any] = {
            "inverter": given.inverter,
            "device": named,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "chunk": CHUNK_SIZE if device.type == "cpu" else ACCELERATOR_CHUNK_SIZE,
            "opening": round(opened, 1),
            "reading": round(reading(given.read, inverter.dimension)),
            "rows": [],
        }
        print(f"{given.inverter} on {named}, {found['threads']} threads; opened in {opened:.0f} s", flush=True)
        print(f"reading {found['reading']:,} vectors a second; {found['chunk']} rows go through a network at once")
        print("effort    tokens  at once  vectors   /second  queries  solved   exact    busy", flush=True)
        for effort in given.efforts:
            for tokens in given.tokens:
                for at_once in given.at_once or [None]:
                    row = measured(inverter, effort, tokens, given.count, given.groups, at_once)
                    found["rows"].append(row)
                    busy = "" if row["busy"] is None else f"{row['busy']:8.0%}"
                    print(
                        f"{effort:<9}{tokens:>7}{row['at_once']:>9}{row['vectors']:>9}{row['rate']:>10.2f}"
                        f"{row['queries']:>9.0f}{row['solved']:>8.0%}{row['exact']:>8.0%}{busy}",
                        flush=True,
                    )
                    if given.out is not None:  # also of what was measured until somebody stops this
                        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
