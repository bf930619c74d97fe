"""The line that visitors wait in: one piece of work at a time, first come, first served."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from unembed.errors import ServiceError, UnembedError, brief

__all__ = ["Cancelled", "Event", "Job", "Line", "Send"]

Event = tuple[str, dict[str, Any]]  # its kind, and what is to be shown of it
Send = Callable[[Event | None], None]  # None: nothing more comes
MOST = 16  # jobs that wait

logger = logging.getLogger(__name__)


class Cancelled(Exception):
    """The job's visitor doesn't want it any more."""


class Job:
    """Something to do for one visitor. `send` is called in the thread that works, and mustn't block it.

    The last event but None is "cancelled", "failed" (with the `message` of the error) or whatever the work sent last.
    """

    def __init__(self, work: "Callable[[Job], None]", send: Send) -> None:
        self._work, self._send = work, send
        self._cancelled = threading.Event()
        self._before: int | None = None

    def wait_for(self, before: int) -> None:
        """Tell the visitor how many are before them, where that has changed."""
        if before and before != self._before:
            self.send("waiting", before=before)
        self._before = before

    def send(self, kind: str, **what: Any) -> None:
        """Tell the visitor something."""
        self._send((kind, what))

    def cancel(self) -> None:
        """Have the work end at its next `check`, or never begin."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise `Cancelled` where the visitor has cancelled; work calls it often."""
        if self._cancelled.is_set():
            raise Cancelled

    def run(self) -> None:
        """Do the work, and tell how it ended."""
        try:
            self.check()
            self._work(self)
        except Cancelled:
            self.send("cancelled")
        except UnembedError as error:
            self.send("failed", message=brief(error, 390))
        except Exception as error:
            # A plugin's code may raise anything; the page outlives it.
            logger.exception("a job of the page failed")
            self.send("failed", message=brief(f"{type(error).__name__}: {error}", 390))
        finally:
            self._send(None)


class Line:
    """Does jobs in a thread of its own, one after the other; those that wait are told how many are before them."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._waiting: deque[Job] = deque()
        self._now: Job | None = None
        self._change = threading.Condition()
        self._open = True
        # A daemon: a search can't be interrupted in the middle of a step, and nobody waits for it at the end.
        self._thread = threading.Thread(target=self._serve, name="unembed-web", daemon=True)
        self._thread.start()

    def join(self, work: Callable[[Job], None], send: Send) -> Job:
        """Add a job to the end of the line; raises ServiceError where too many wait."""
        job = Job(work, send)
        with self._change:
            self._waiting = deque(one for one in self._waiting if not self._gone(one))
            if len(self._waiting) >= self._most:
                raise ServiceError(f"{self._most} visitors wait already; try again in a while")
            self._waiting.append(job)
            self._tell()
            self._change.notify()
        return job

    def close(self, seconds: float = 0) -> bool:
        """Cancel all jobs, take no more, and wait a while for the one at work; whether that one has ended."""
        with self._change:
            self._open = False
            for job in (*self._waiting, *([self._now] if self._now else [])):
                job.cancel()
            self._change.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _gone(self, job: Job) -> bool:
        """Whether a waiting job was cancelled; it is told so at once."""
        try:
            job.check()
        except Cancelled:
            job.run()
            return True
        return False

    def _tell(self) -> None:
        for place, job in enumerate(self._waiting):
            job.wait_for(place + (self._now is not None))

    def _serve(self) -> None:
        while True:
            with self._change:
                self._now = None
                self._waiting = deque(one for one in self._waiting if not self._gone(one))
                while self._open and not self._waiting:
                    self._change.wait()
                if not self._open:
                    for job in self._waiting:
                        self._gone(job)
                    return
                self._now = self._waiting.popleft()
                self._tell()
            self._now.run()
