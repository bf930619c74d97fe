"""How fast long work goes, and what is left of it."""

from dataclasses import dataclass

__all__ = ["Progress"]


@dataclass(frozen=True)
class Progress:
    """How far work is: rows done now and before, of how many (None: not known), seconds since it began."""

    done: int
    before: int
    total: int | None
    seconds: float

    @property
    def rate(self) -> float:
        """Rows a second, of this run."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def left(self) -> float | None:
        """Estimated seconds until the end; None before the first row, and while the end isn't known."""
        if self.total is None or not self.done:
            return None
        return max(0, self.total - self.before - self.done) / self.rate
