"""Finding plugins and what they offer. Nothing is imported before somebody asks."""

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from unembed.errors import PluginError, UnknownNameError, brief
from unembed.registry import hooks
from unembed.registry.specs import CommandSpec, InverterSpec, Method, Modality, PluginInfo
from unembed.sources.passages import read_passages

if TYPE_CHECKING:
    from unembed.inversion.inverter import Inverter

__all__ = [
    "command",
    "commands",
    "fitting",
    "method",
    "modality",
    "modality_of",
    "offered",
    "offers",
    "plugin",
    "plugins",
    "read_objects",
    "several",
    "unknown",
]

GROUP = "unembed"

KINDS = {
    "inverters": "inverter",
    "embedders": "embedder",
    "modalities": "modality",
    "methods": "method",
    "sources": "source",
    "defences": "defence",
    "engines": "engine",
    "commands": "command",
}


def plugins() -> tuple[PluginInfo, ...]:
    """List every installed plugin and what it offers, the broken ones with their error. Loads no weights.

    Examples:
        >>> import unembed
        >>> for plugin in unembed.plugins():
        ...     if plugin.name == "text":
        ...         print(plugin.inverters[0].name, plugin.inverters[0].dimension, plugin.error)
        minilm 384 None
    """
    return _discover(tuple(sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))))


def plugin(name: str) -> PluginInfo:
    """The installed plugin of that name, its entry point's; raises UnknownNameError."""
    for found in plugins():
        if found.name == name:
            return found
    known = ", ".join(found.name for found in plugins()) or "none"
    raise UnknownNameError(f"no plugin {brief(name)!r} is installed; known: {known}")


def modality(name: str) -> Modality:
    """The modality of that name; raises UnknownNameError."""
    found: Modality | None = offered("modalities", name)
    if found is None:
        raise unknown("modalities", name, "is its plugin installed?")
    return found


def modality_of(inverter: "Inverter") -> Modality | None:
    """The modality of the inverter's embedder, or None where no plugin offers one of that name."""
    found: Modality | None = offered("modalities", inverter.embedder.modality)
    return found


def read_objects(inverter: "Inverter", path: Path, *, column: str | None = None) -> list[Any]:
    """The objects of a file or folder, read as the inverter's modality says: without one, as passages."""
    kind = modality_of(inverter)
    return read_passages(path, column=column) if kind is None else kind.read(path, column=column)


def method(name: str) -> Method:
    """The method of that name; that of a modality stands for its own, or its only, method.

    Raises UnknownNameError.
    """
    found: Method | None = offered("methods", name)
    if found is not None:
        return found
    kind: Modality | None = offered("modalities", name)
    if kind is None:
        raise unknown("methods", name, "is its plugin installed?")
    if kind.method is not None:
        return method(kind.method)
    own = [spec for info in plugins() for spec in info.methods if spec.modality == name]
    if len(own) != 1:
        known = ", ".join(spec.name for spec in own) or "none"
        raise UnknownNameError(f"modality {name!r} has no method of its own; name one; known: {known}")
    return own[0]


def fitting(dimension: int) -> list[InverterSpec]:
    """The named inverters of vectors `dimension` wide. Loads no weights."""
    return [spec for info in plugins() for spec in info.inverters if spec.dimension == dimension]


def commands() -> list[str]:
    """The names of the commands that plugins offer."""
    return sorted(offers("commands"))


def command(name: str) -> CommandSpec | None:
    """The plugins' command of that name, or None; raises PluginError where two plugins offer it."""
    found: CommandSpec | None = offered("commands", name)
    return found


@cache
def _discover(points: tuple[EntryPoint, ...]) -> tuple[PluginInfo, ...]:
    found = tuple(_load_one(point) for point in points)
    return tuple(replace(info, error=info.error or _clash(info, found)) for info in found)


def _load_one(point: EntryPoint) -> PluginInfo:
    """Load one plugin on its own manager, so that a broken one breaks nothing else."""
    dist = point.dist
    identity = (point.name, dist.name if dist else "unknown", dist.version if dist else "unknown", point.value)
    manager = pluggy.PluginManager("unembed")
    manager.add_hookspecs(hooks)
    try:
        manager.register(point.load(), name=point.name)
        _check_names(manager)
        hook = manager.hook
        return PluginInfo(
            *identity,
            inverters=tuple(spec for specs in hook.register_inverters() for spec in specs),
            embedders=tuple(spec for specs in hook.register_embedders() for spec in specs),
            modalities=tuple(spec for specs in hook.register_modalities() for spec in specs),
            methods=tuple(spec for specs in hook.register_methods() for spec in specs),
            sources=tuple(spec for specs in hook.register_sources() for spec in specs),
            defences=tuple(spec for specs in hook.register_defences() for spec in specs),
            engines=tuple(spec for specs in hook.register_engines() for spec in specs),
            commands=tuple(spec for specs in hook.register_commands() for spec in specs),
        )
    except (Exception, SystemExit) as error:  # a stranger's code: what it raises is kept, shown, raised when asked for
        return PluginInfo(*identity, error=error)


def _check_names(manager: pluggy.PluginManager) -> None:
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        known = ", ".join(name for name in vars(hooks) if name.startswith("register_"))
        raise PluginError(f"{error}; the hooks are {known}") from error


def _clash(info: PluginInfo, others: tuple[PluginInfo, ...]) -> PluginError | None:
    """The error of a plugin that offers what another one offers too."""
    for kind in KINDS:
        for spec in getattr(info, kind):
            owners = [other for other in others if spec.name in {found.name for found in getattr(other, kind)}]
            if len(owners) > 1:
                return several(kind, spec.name, owners)
    return None


def several(kind: str, name: str, owners: Sequence[PluginInfo]) -> PluginError:
    """The error to raise when more than one plugin offers a name."""
    named = " and ".join(f"{owner.distribution} ({owner.name})" for owner in owners)
    both = "both " if len(owners) == 2 else ""
    return PluginError(f"{KINDS[kind]} {name!r} is offered by {both}{named}; uninstall all but one of them")


def offers(kind: str) -> dict[str, list[tuple[PluginInfo, Any]]]:
    """Everything of one kind by name, each with the plugins that offer it."""
    found: dict[str, list[tuple[PluginInfo, Any]]] = {}
    for info in plugins():
        for spec in getattr(info, kind):
            found.setdefault(spec.name, []).append((info, spec))
    return found


def offered(kind: str, name: str) -> Any:
    """The one spec of that name, or None; a name from two plugins is an error that names both."""
    owners = offers(kind).get(name, [])
    if len(owners) > 1:
        raise several(kind, name, [info for info, _ in owners])
    return owners[0][1] if owners else None


def unknown(kind: str, name: str, more: str) -> Exception:
    """The error to raise for a name that no plugin offers; it lists the known ones."""
    for info in plugins():
        if info.error is not None and info.name == name.partition(":")[0]:
            error = PluginError(f"plugin {info.name!r} of {info.distribution} failed to load: {info.error}")
            error.__cause__ = info.error
            return error
    names = sorted(offers(kind))
    known = ", ".join(names) or "none"
    near = [one for one in names if one in name.lower()] or get_close_matches(name.lower(), names, 1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    broken = ", ".join(info.name for info in plugins() if info.error is not None)
    hint = f"; plugins that failed to load: {broken} (see `unembed plugins`)" if broken else ""
    return UnknownNameError(f"no {KINDS[kind]} {brief(name)!r}{meant}; known: {known}; {more}{hint}")
