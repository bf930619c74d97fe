"""Factories by name: what a plugin offers is imported when somebody asks for it."""

from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from unembed.errors import MissingExtraError

__all__ = ["Lazy", "lazy"]


@dataclass(frozen=True)
class Lazy:
    """A callable that stands for `module:name`, which is imported at the first call. Made by `lazy`."""

    target: str
    missing: str = ""
    libraries: frozenset[str] = frozenset()

    def get(self) -> Any:
        """What `target` names; raises MissingExtraError where one of `libraries` isn't installed."""
        return self._explained(self._found)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call what `target` names."""
        return self._explained(lambda: self._found()(*arguments, **options))

    def lacking(self) -> list[str]:
        """Those of `libraries` that aren't installed; imports none of them."""
        return sorted(name for name in self.libraries if not _installed(name))

    def _found(self) -> Any:
        module, _, name = self.target.partition(":")
        return getattr(import_module(module), name)

    def _explained(self, work: Any) -> Any:
        try:
            return work()
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in self.libraries:
                raise
            raise MissingExtraError(self.missing) from error


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # a module that was put into sys.modules without a spec
        return True


def lazy(target: str, *, missing: str = "", libraries: Collection[str] = ()) -> Lazy:
    """A factory for a spec, by name: its module is imported when the factory is first called.

    - `target`: `module:name` of what is to be called.
    - `missing`: what to tell a user who lacks a library, with the command that installs it.
    - `libraries`: what the module imports from an extra, by the names in `import`. Where one of them isn't installed,
      a call raises MissingExtraError with the text `missing`, and `unembed plugins` says so before.

    `.get()` gives what the name stands for without calling it.

    Examples:
        >>> import unembed
        >>> upper = unembed.lazy("string:capwords", missing="pip install strings", libraries={"strings"})
        >>> upper("meet me at noon"), upper.lacking()
        ('Meet Me At Noon', ['strings'])
    """
    return Lazy(target, missing, frozenset(libraries))
