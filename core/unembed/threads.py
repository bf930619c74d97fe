"""How many threads torch computes with: a small network loses more by sharing its work than it gains."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from unembed.contract.embedder import Embedder
from unembed.contract.proposers import Corrector, Hypothesizer

__all__ = ["allowed_cpus", "fitting_threads", "parameters"]

SMALL = 2_000_000  # parameters up to which one thread is taken: an estimate; sharing so little work costs on busy cores
SAID = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # by which a user chooses
QUOTA = Path("/sys/fs/cgroup/cpu.max")


@contextmanager
def fitting_threads(*owners: object) -> Iterator[int]:
    """Let torch compute with as many threads as pay for the networks that `owners` hold, until the block ends.

    Yields their number: one where the networks have up to `SMALL` parameters together, otherwise torch's own number,
    and never more than `allowed_cpus`. It is never raised, and stays as it is where a user has chosen it by
    OMP_NUM_THREADS or MKL_NUM_THREADS, or where no network is found. How busy the machine is doesn't count, or results
    would depend on it in their last digits.
    """
    before = torch.get_num_threads()
    size = sum(map(parameters, owners))
    chosen = before
    if size and not any(os.environ.get(name) for name in SAID):
        chosen = 1 if size <= SMALL else min(before, allowed_cpus())
    if chosen == before:
        yield before
        return
    torch.set_num_threads(chosen)
    try:
        yield chosen
    finally:
        torch.set_num_threads(before)


def parameters(owner: object) -> int:
    """How many parameters the networks have that an embedder or a proposer holds, or that `owner` is itself."""
    found: dict[int, int] = {}
    waiting, seen = [owner], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, nn.Module):
            found |= {id(parameter): parameter.numel() for parameter in one.parameters()}
        elif isinstance(one, Embedder | Hypothesizer | Corrector):
            waiting += vars(one).values()
    return sum(found.values())


def allowed_cpus() -> int:
    """How many CPUs this process may use: by its affinity, and by the quota of its container."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text().split()
        return max(1, min(count, round(int(quota) / int(period))))
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or no quota: "max"
        return count
