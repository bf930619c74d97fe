"""What an installation lacks of what its plugins offer: told by looking for libraries, importing none."""

from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from typing import Any

from unembed.registry.lazy import Lazy
from unembed.registry.specs import InverterSpec, PluginInfo

__all__ = ["lacking"]


def lacking(spec: Any, installed: Sequence[PluginInfo]) -> str | None:
    """What to install before `spec` can be used, in its plugin's words; None where nothing is known to be missing.

    A spec says so by factories that are `lazy` ones; an inverter needs its embedder too, which is one of `installed`.
    """
    for field in fields(spec):
        factory = _lazy(getattr(spec, field.name))
        if factory is not None and factory.lacking():
            return factory.missing
    if isinstance(spec, InverterSpec) and spec.embedder is not None:
        kind = spec.embedder.partition(":")[0]
        own = (found for info in installed for found in info.embedders if found.name == kind)
        return next((lacking(found, installed) for found in own), None)
    return None


def _lazy(factory: Any) -> Lazy | None:
    """The lazy factory behind one: with arguments given, or its `get`."""
    while isinstance(factory, partial):
        factory = factory.func
    factory = getattr(factory, "__self__", factory)
    return factory if isinstance(factory, Lazy) else None
