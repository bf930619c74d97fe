"""How long many vectors take on N GPUs, and what that costs: `python tests/benchmarks/bulk/simulate.py RATES.json`.

RATES.json is what `throughput.py` measured on one of them. Blocks are handed out as the engine ray does it: one reader,
two blocks with each worker, a block lost with the worker that had it and done again by another, a new worker in the
dead one's place. Workers fail at random moments; texts are of the lengths that --mix says.
"""

import argparse
import heapq
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unembed.bulk.blocks import block_size

AHEAD = 2


@dataclass(frozen=True)
class Job:
    """What is simulated: times in seconds."""

    vectors: int
    block: int
    seconds: float  # a vector takes, on one worker
    reading: float  # vectors a second that one reader reads
    opening: float  # until a new worker works
    between: float  # failures of one worker, on average; infinite: none
    spread: float = 0.1  # of a block's time, as a share of it


@dataclass(frozen=True)
class Found:
    """What came of it."""

    seconds: float
    busy: float  # seconds of workers that went into blocks that were kept
    lost: float  # … into blocks that were lost
    failures: int


def simulate(job: Job, workers: int, seed: int = 0) -> Found:
    """One job on so many workers."""
    draw = random.Random(seed)
    blocks = -(-job.vectors // job.block)
    ready = [job.opening] * workers  # when each worker can begin its next block
    queue = [(job.opening, place) for place in range(workers)]
    fails = [draw.expovariate(1 / job.between) if job.between < float("inf") else float("inf") for _ in ready]
    done = read = failures = 0
    again = 0  # blocks that were lost
    busy = lost = end = 0.0
    heapq.heapify(queue)
    while done < blocks:
        now, place = heapq.heappop(queue)
        if again:
            again, arrives = again - 1, now
        elif read < blocks:
            read += 1
            arrives = read * job.block / job.reading
        else:
            continue  # nothing is left for this worker; what others lose they do again themselves
        began = max(now, arrives)
        size = min(job.block, job.vectors - (blocks - 1) * job.block) if read == blocks and not again else job.block
        takes = size * job.seconds * max(0.1, draw.gauss(1, job.spread))
        if began + takes > fails[place]:
            stopped = max(fails[place], began)
            lost += stopped - began
            failures, again = failures + 1, again + 1
            fails[place] = stopped + job.opening + draw.expovariate(1 / job.between)
            heapq.heappush(queue, (stopped + job.opening, place))
            continue
        busy, done, end = busy + takes, done + 1, max(end, began + takes)
        heapq.heappush(queue, (began + takes, place))
    return Found(end, busy, lost, failures)


def seconds_of(rates: dict[str, Any], effort: str, mix: dict[int, float]) -> float:
    """Seconds a vector takes on average; a length that wasn't measured counts as the next longer one."""
    measured = {row["tokens"]: 1 / row["rate"] for row in rates["rows"] if row["effort"] == effort}
    if not measured:
        known = sorted({row["effort"] for row in rates["rows"]})
        raise SystemExit(f"effort {effort!r} wasn't measured; known: {', '.join(known)}")
    total = sum(mix.values())
    longest = max(measured)
    return sum(
        share / total * measured[min((length for length in measured if length >= tokens), default=longest)]
        for tokens, share in mix.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rates", type=Path)
    parser.add_argument("--vectors", type=float, default=100e6)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 32, 64, 128, 256])
    parser.add_argument("--effort", default="low")
    parser.add_argument("--mix", nargs="+", default=["16:1"], help="TOKENS:SHARE …")
    parser.add_argument("--failing", type=float, default=500, help="hours between two failures of one worker")
    parser.add_argument("--price", type=float, default=3.0, help="dollars an hour of a GPU")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rates = json.loads(given.rates.read_text())
    mix = {int(tokens): float(share) for tokens, share in (one.split(":") for one in given.mix)}
    count = int(given.vectors)
    group = max(row["at_once"] for row in rates["rows"] if row["effort"] == given.effort)
    each = seconds_of(rates, given.effort, mix)
    job = Job(count, block_size(count, group), each, rates["reading"], rates["opening"], given.failing * 3600)
    print(
        f"{count:,} vectors, {given.effort}, {1 / each:,.1f} a second on one {rates['device']}, blocks of {job.block}"
    )
    print("workers     hours  worker hours      cost   lost   failures  waiting for the reader")
    for workers in given.gpus:
        found = simulate(job, workers, given.seed)
        hours = workers * found.seconds / 3600
        idle = 1 - (found.busy + found.lost + (workers + found.failures) * job.opening) / (workers * found.seconds)
        print(
            f"{workers:>7}{found.seconds / 3600:>10.2f}{hours:>14.1f}{hours * given.price:>10,.0f}"
            f"{found.lost / found.busy:>7.2%}{found.failures:>11}{max(0.0, idle):>24.1%}"
        )


if __name__ == "__main__":
    main()
