"""Factories by name: what a plugin offers is imported when somebody asks for it."""

from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
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


def lazy(target: str, *, missing: str = "", libraries: Collection[str] = ()) -> Lazy:
    """A factory for a spec, by name: `lazy("unembed_mine.recipe:MyRecipe")`.

    The module is imported when the factory is first called; `.get()` gives what the name stands for without calling
    it. Where one of `libraries` (names as they are imported) isn't installed, the call raises MissingExtraError with
    the text `missing`, which should say what to install.
    """
    return Lazy(target, missing, frozenset(libraries))
