"""A defence by its name: one that a plugin offers, or a team's own `module:function`."""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unembed.contract.defence import Defence
from unembed.errors import InputError, UnknownNameError, brief
from unembed.registry.discovery import offered, offers
from unembed.registry.specs import DefenceSpec
from unembed_defend.defences.chained import Chained

__all__ = ["known_defences", "open_defence"]


def open_defence(text: str) -> Defence:
    """The defence that `name`, `name:PARAMETER` or `module:function` stands for; loads nothing heavy.

    Several are applied one after the other: `pca:96+int8`. Raises InputError for a parameter that is wrong or missing,
    UnknownNameError for a name that nothing offers.
    """
    if "+" in text:
        return Chained([open_defence(part) for part in text.split("+")])
    name, _, argument = text.partition(":")
    found: DefenceSpec | None = offered("defences", name)
    if found is not None:
        if found.parameter is not None and not argument:
            raise InputError(f"defence {name} needs its parameter: {name}:{found.parameter} ({found.summary})")
        return found.load(argument)
    if argument:
        return _Own(text, _function(name, argument))
    raise UnknownNameError(
        f"no defence {brief(text)!r}; known: {', '.join(known_defences())}; or a function of yours, module:function"
    )


def known_defences() -> list[str]:
    """What can be asked for, parameters in capitals."""
    specs = [spec for owners in offers("defences").values() for _, spec in owners]
    return sorted(spec.name if spec.parameter is None else f"{spec.name}:{spec.parameter}" for spec in specs)


class _Own(Defence):
    """A function of vectors `[N, D]`, a NumPy array, that returns what is stored of them, `[N, E]`."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        super().__init__(name=name, granted="Pairs of vectors and texts alone; the function stays secret.", keyed=True)
        self._function = function

    def _apply(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        return self._called(vectors)

    def _query(self, vectors: Tensor) -> Tensor:
        return self._called(vectors)

    def _called(self, vectors: Tensor) -> Tensor:
        made = self._function(vectors.cpu().numpy().copy())
        try:
            changed = torch.from_numpy(np.ascontiguousarray(made, dtype=np.float32))
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.name} returned no array of numbers: {error}") from error
        return changed.to(vectors.device)


def _function(module: str, name: str) -> Callable[..., Any]:
    place = sys.path[:]
    sys.path.insert(0, "")  # a module in the working folder, as with `python -m`
    try:
        found = getattr(import_module(module), name, None)
    except (ImportError, ValueError) as error:
        raise UnknownNameError(
            f"no defence {brief(module)!r} and no module of that name ({error}); known: {', '.join(known_defences())}"
        ) from error
    finally:
        sys.path[:] = place
    if not callable(found):
        raise UnknownNameError(f"module {module!r} has no function {brief(name)!r}")
    function: Callable[..., Any] = found
    return function
