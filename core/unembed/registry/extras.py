"""What a plugin's factories say where an optional library is missing."""

from collections.abc import Callable, Collection
from functools import wraps
from typing import ParamSpec, TypeVar

from unembed.errors import MissingExtraError

__all__ = ["needs_extra"]

P = ParamSpec("P")
T = TypeVar("T")


def needs_extra(extra: str, what: str, libraries: Collection[str]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A decorator of factories, which then raise MissingExtraError where one of the extra's `libraries` is missing.

    `what` begins the message, as in "texts need"; `libraries` are the names by which they are imported.
    """

    def wrapped(factory: Callable[P, T]) -> Callable[P, T]:
        @wraps(factory)
        def made(*arguments: P.args, **options: P.kwargs) -> T:
            try:
                return factory(*arguments, **options)
            except ModuleNotFoundError as error:
                if (error.name or "").partition(".")[0] not in libraries:
                    raise
                raise MissingExtraError(f"{what} an extra: pip install 'unembed[{extra}]'") from error

        return made

    return wrapped
