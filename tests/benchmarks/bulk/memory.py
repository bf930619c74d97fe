"""Peak memory of `unembed invert` over a million vectors: `python tests/benchmarks/bulk/memory.py`.

A file of --read vectors of 8-token texts is written once (the same few texts again and again); then --small and --large
of them are inverted, sampled at random, each in a process of its own. Memory is the peak of a process's anonymous
memory (Linux), and of its whole resident set, in which the pages of a mapped file count.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import unembed

DISTINCT = 256
PACED = Path(__file__).parents[2] / "kills" / "paced"  # the toy as a plugin
WORDS = (
    "the red house near an old river at night", "please send me your signed form before next monday",
    "she bought three green apples and some fresh bread", "our train to the coast leaves early tomorrow morning",
)  # fmt: skip


def write(path: Path, inverter: str, count: int) -> None:
    """Vectors of 8-token texts (of the toy: of words)."""
    model = unembed.load(inverter, device="cpu")
    if inverter == "toy":
        from unembed.testing.toy import words

        vectors = model.embed(words(DISTINCT)).numpy()
    else:
        words = [word for text in WORDS for word in text.split()]
        draw = np.random.default_rng(0)
        texts = [" ".join(draw.choice(words, 8).tolist()) for _ in range(DISTINCT)]
        vectors = model.embedder.embed(model.codec.first(texts, 8)).numpy()
    out = np.lib.format.open_memmap(path, "w+", np.float32, (count, vectors.shape[1]))
    for first in range(0, count, DISTINCT):
        out[first : first + DISTINCT] = vectors[: min(DISTINCT, count - first)]
    out.flush()


def peak(command: list[str]) -> tuple[float, float, float]:
    """Seconds, and peaks in MiB: anonymous memory and the resident set."""
    began, process = time.perf_counter(), subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    anonymous = resident = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        found = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        if "RssAnon" in found:
            anonymous = max(anonymous, int(found["RssAnon"].split()[0]))
            resident = max(resident, int(found["VmHWM"].split()[0]))
        time.sleep(0.02)
    said = process.communicate()[1]
    if process.returncode:
        raise SystemExit(said)
    return time.perf_counter() - began, anonymous / 1024, resident / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--read", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=1_000)
    parser.add_argument("--large", type=int, default=10_000)
    parser.add_argument("--inverter", default="minilm")
    parser.add_argument("--order", default="stored")
    parser.add_argument("--device")
    parser.add_argument("--ending", default="parquet", choices=("parquet", "jsonl"))
    given = parser.parse_args()
    if given.inverter == "toy":
        sys.path.insert(0, str(PACED))
        os.environ["PYTHONPATH"] = str(PACED)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write(place / "v.npy", given.inverter, given.read)
        peaks = []
        for count in (given.small, given.large):
            out = place / f"{count}.{given.ending}"
            words = ["invert", "--vectors", str(place / "v.npy"), "--inverter", given.inverter, "--effort", "low"]
            words += ["--sample", str(count), "--order", given.order, "--out", str(out)]
            words += [] if given.device is None else ["--device", given.device]
            script = "import sys; from unembed.cli import main; main()"
            seconds, anonymous, resident = peak([sys.executable, "-c", script, *words])
            peaks.append(anonymous)
            print(
                f"{given.inverter}: {given.read:,} read, {count:,} inverted in {seconds:.0f} s: {anonymous:.0f} MiB, "
                f"{resident:.0f} with the file's pages",
                flush=True,
            )
        print(f"{peaks[1] / peaks[0] - 1:+.1%} memory for {given.large / given.small:g} times as many")


if __name__ == "__main__":
    main()
