"""A pool of Ray actors, one inverter each; blocks go to whoever is free, and to another when a worker dies."""

import logging
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

import ray
from unembed.bulk.blocks import Block, Work
from unembed.bulk.worker import Worker
from unembed.errors import InputError, PluginError, UnembedError, brief
from unembed.inversion.results import Row

__all__ = ["RayEngine"]

AHEAD = 2  # blocks that are with a worker: one in work, one waiting
TOGETHER = 4  # workers on one GPU at most
DEATHS = 3  # of workers over one block, after which it isn't given to another


class RayEngine:
    """Actors of the cluster that RAY_ADDRESS names or that runs on this machine, or else of a Ray of its own.

    Each takes a GPU where the cluster has some, unless `device` is "cpu", or else a CPU. Raises InputError for more
    workers than the cluster has room for.
    """

    def __init__(self, *, workers: int | None = None, device: str | None = None) -> None:
        if device not in (None, "cpu", "cuda"):
            raise InputError(f"--device {device} isn't one for --engine ray: Ray gives each worker a GPU; cuda or cpu")
        self._asked, self._wanted = workers, device
        self._own = False
        self._share = 1.0  # of a GPU, for each worker
        self._actors: dict[int, Any] = {}

    def __enter__(self) -> Self:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told that this runs
        self._own = not ray.is_initialized()
        if self._own:
            main = threading.current_thread() is threading.main_thread()
            handler = signal.getsignal(signal.SIGTERM) if main else None
            try:
                _begin()
            except SystemExit as stopped:  # by SIGTERM, for which Ray sets a handler of its own
                raise KeyboardInterrupt from stopped
            finally:
                if main:
                    signal.signal(signal.SIGTERM, handler)
        found = ray.cluster_resources()
        gpus = 0 if self._wanted == "cpu" else int(found.get("GPU", 0))
        if self._wanted == "cuda" and not gpus:
            self.__exit__(None, None, None)
            raise InputError("--device cuda: the Ray cluster has no GPU")
        self.device = "cuda" if gpus else "cpu"
        places, each = (gpus, TOGETHER) if gpus else (int(found.get("CPU", 1)), 1)
        self.workers = self._asked or places
        if self.workers > places * each:
            self.__exit__(None, None, None)
            kind = f"GPUs, for {each} each" if gpus else "CPUs, for one each"
            raise InputError(f"--workers {self.workers}: the Ray cluster has {places} {kind}")
        self._share = 1.0 if self.workers <= places else 1 / -(-self.workers // places)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for actor in self._actors.values():
            ray.kill(actor)
        self._actors = {}
        if self._own:
            ray.shutdown()

    def run(self, work: Work, blocks: Iterator[Block]) -> Iterator[tuple[int, list[Row]]]:
        """The rows of each block as soon as they are there: see `unembed.bulk.blocks.Engine`."""
        sent = ray.put(work)
        pending: dict[Any, tuple[int, Any, Block]] = {}
        busy, deaths, again = Counter[int](), Counter[int](), list[Block]()
        while True:
            while len(pending) < AHEAD * self.workers:
                block = again.pop() if again else next(blocks, None)
                if block is None:
                    break
                place = min(range(self.workers), key=lambda one: busy[one])
                if place not in self._actors:
                    self._actors[place] = self._actor(sent)
                busy[place] += 1
                actor = self._actors[place]
                pending[actor.rows.remote(block)] = (place, actor, block)
            if not pending:
                return
            (ready,), _ = ray.wait(list(pending), num_returns=1)
            place, actor, block = pending.pop(ready)
            busy[place] -= 1
            try:
                rows = ray.get(ready)
            except RayTaskError as error:
                raise _cause(error) from error
            except RayActorError as error:
                deaths[block.first] += 1
                if deaths[block.first] >= DEATHS or _never_began(error):
                    raise PluginError(_why(block, error)) from error
                again.append(block)
                if self._actors.get(place) is actor and not isinstance(error, ActorUnavailableError):
                    del self._actors[place]  # another takes its place
            else:
                yield block.first, rows

    def _actor(self, work: Any) -> Any:
        options = {"num_gpus": self._share, "num_cpus": 0} if self.device == "cuda" else {"num_cpus": 1}
        return ray.remote(**options)(Worker).remote(work)


def _begin() -> None:
    """Connect to the cluster that is there, or start a Ray of our own."""
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RayError, RuntimeError, ValueError) as error:
        where = os.environ.get("RAY_ADDRESS", "this machine")
        hint = ""
        if "RAY_ADDRESS" in os.environ and "RAY_AUTH_MODE" not in os.environ:
            hint = " (one that asks for its token needs RAY_AUTH_MODE=token)"
        raise InputError(f"can't use the Ray cluster at {where}: {brief(error)}{hint}") from error


def _never_began(error: RayActorError) -> bool:
    """Whether a worker's inverter couldn't be opened: so it will be everywhere."""
    return isinstance(error.__cause__, RayTaskError) or "creation task" in str(error)


def _why(block: Block, error: RayActorError) -> str:
    said = " ".join(str(error).split())
    if _never_began(error):
        return f"a Ray worker couldn't open its inverter: {said[-200:]}"
    return f"{DEATHS} Ray workers died over the vectors from {block.first} on: {said[:160]}; is their memory enough?"


def _cause(error: RayTaskError) -> Exception:
    cause = error.cause
    return cause if isinstance(cause, UnembedError) else error
