"""What ends a search."""

from dataclasses import dataclass

from unembed.defaults import PATIENCE, STEPS
from unembed.errors import InputError

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What ends the search for a target; raises InputError for a limit that can't be.

    - `steps`: maximum rounds after the first guesses; 0 keeps the best guess.
    - `patience`: rounds without gain after which a target is given up.
    - `max_queries`: maximum signals embedded per target; None is no limit.
    - `tolerance`: a target is solved at a similarity of 1 − `tolerance`.
    """

    steps: int = STEPS
    patience: int = PATIENCE
    max_queries: int | None = None
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        for name, value, least in (("steps", self.steps, 0), ("patience", self.patience, 1)):
            if value < least:
                raise InputError(f"{name} must be at least {least}; got {value}")
        if self.max_queries is not None and self.max_queries < 1:
            raise InputError(f"max_queries must be at least 1, or None for no limit; got {self.max_queries}")
