"""A pool of Ray actors, one inverter each; blocks go to whoever is free, and to another when a worker dies."""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayTaskError

from unembed.bulk.blocks import Block, Work
from unembed.bulk.worker import Worker
from unembed.errors import InputError, PluginError, UnembedError
from unembed.inversion.results import Row

__all__ = ["RayEngine"]

AHEAD = 2  # blocks that are with a worker: one in work, one waiting
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
        self._actors: dict[int, Any] = {}

    def __enter__(self) -> Self:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told that this runs
        if not ray.is_initialized():
            self._own = True
            try:
                ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, ValueError):  # a cluster that runs has its own dashboard, or none is there
                try:
                    ray.init(log_to_driver=False, logging_level=logging.ERROR)
                except ConnectionError as error:
                    raise InputError(f"there is no Ray cluster at {os.environ.get('RAY_ADDRESS')}: {error}") from error
        found = ray.cluster_resources()
        gpus = 0 if self._wanted == "cpu" else int(found.get("GPU", 0))
        if self._wanted == "cuda" and not gpus:
            self.__exit__(None, None, None)
            raise InputError("--device cuda: the Ray cluster has no GPU")
        self.device = "cuda" if gpus else "cpu"
        room = gpus or int(found.get("CPU", 1))
        self.workers = self._asked or room
        if self.workers > room:
            self.__exit__(None, None, None)
            raise InputError(f"--workers {self.workers}: the Ray cluster has {room} {'GPUs' if gpus else 'CPUs'}")
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
        for place in range(self.workers):
            self._actors[place] = self._actor(sent)
        pending: dict[Any, tuple[int, Block]] = {}
        busy, deaths, again = Counter[int](), Counter[int](), list[Block]()
        while True:
            while len(pending) < AHEAD * self.workers:
                block = again.pop() if again else next(blocks, None)
                if block is None:
                    break
                place = min(self._actors, key=lambda one: busy[one])
                busy[place] += 1
                pending[self._actors[place].rows.remote(block)] = (place, block)
            if not pending:
                return
            (ready,), _ = ray.wait(list(pending), num_returns=1)
            place, block = pending.pop(ready)
            busy[place] -= 1
            try:
                rows = ray.get(ready)
            except RayActorError as error:
                deaths[block.first] += 1
                if deaths[block.first] >= DEATHS or _never_began(error):
                    raise PluginError(_why(block, error)) from error
                again.append(block)
                if isinstance(error, ActorDiedError) or not isinstance(error, ActorUnavailableError):
                    self._replace(place, sent, ready)
            except RayTaskError as error:
                raise _cause(error) from error
            else:
                yield block.first, rows

    def _actor(self, work: Any) -> Any:
        options = {"num_gpus": 1, "num_cpus": 0} if self.device == "cuda" else {"num_cpus": 1}
        return ray.remote(**options)(Worker).remote(work)

    def _replace(self, place: int, work: Any, lost: Any) -> None:
        """A new worker for one that died, once however many blocks it had."""
        dead = self._actors[place]
        if lost.task_id().actor_id() == dead._actor_id:
            self._actors[place] = self._actor(work)


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
