"""Finding plugins and what they offer. Nothing is imported before somebody asks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from unembed import hooks
from unembed.errors import (
    CheckpointError,
    EmbedderMismatchError,
    InputError,
    MissingExtraError,
    PluginError,
    UnknownNameError,
)

if TYPE_CHECKING:
    import click
    import torch

    from unembed.checkpoint import Manifest
    from unembed.interfaces import Embedder
    from unembed.inverter import Inverter
    from unembed.training.recipe import Recipe

__all__ = [
    "CommandSpec",
    "EmbedderSpec",
    "InverterSpec",
    "Modality",
    "PluginInfo",
    "choose_device",
    "commands",
    "load",
    "load_embedder",
    "modality",
    "open_checkpoint",
    "plugins",
]

GROUP = "unembed"


@dataclass(frozen=True)
class InverterSpec:
    """An inverter under a name; `load(device)` builds it, and only then are weights and libraries read.

    One with a `checkpoint`, which returns its folder, can be opened with another embedder than its own.
    """

    name: str
    summary: str
    load: "Callable[[torch.device], Inverter]"
    checkpoint: "Callable[[], Path] | None" = None


@dataclass(frozen=True)
class EmbedderSpec:
    """A black box, asked for as `name` or `name:argument`; `load(argument, device)` builds it."""

    name: str
    summary: str
    load: "Callable[[str, torch.device], Embedder]"


@dataclass(frozen=True)
class Modality:
    """A kind of signal: `open(folder, manifest, device)` a checkpoint, make a `recipe(table)` to train by."""

    name: str
    summary: str
    open: "Callable[[Path, Manifest, torch.device], Inverter]"
    recipe: "Callable[[Mapping[str, Any]], Recipe]"


@dataclass(frozen=True)
class CommandSpec:
    """A command of the command line; `load()` gives the click command, and only then are libraries read."""

    name: str
    summary: str
    load: "Callable[[], click.Command]"


@dataclass(frozen=True)
class PluginInfo:
    """One entry point: what it offers, or the error that kept it from loading."""

    name: str
    distribution: str
    version: str
    inverters: tuple[InverterSpec, ...] = ()
    embedders: tuple[EmbedderSpec, ...] = ()
    modalities: tuple[Modality, ...] = ()
    commands: tuple[CommandSpec, ...] = ()
    error: Exception | None = field(default=None, compare=False)


def plugins() -> tuple[PluginInfo, ...]:
    """Every installed plugin, the broken ones with their error."""
    return _discover(tuple(sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))))


def load(
    name: str,
    *,
    device: "str | torch.device | None" = None,
    embedder: str | None = None,
    self_test: bool = False,
) -> "Inverter":
    """The inverter of that name: one that a plugin offers, a checkpoint folder, or a hub id `owner/name`.

    `device` is the accelerator if there is one, else the CPU. `embedder` names another way to the model that the
    checkpoint was trained against (a folder, a server). With `self_test` the checkpoint's own test is run. Raises
    UnknownNameError (which lists the known names), CheckpointError or EmbedderMismatchError.
    """
    place = choose_device(device)
    specs = _offers("inverters")
    folder = Path(name).expanduser()
    if name in specs and embedder is None:
        inverter: Inverter = specs[name].load(place)
    elif name in specs:
        if specs[name].checkpoint is None:
            raise InputError(f"inverter {name!r} has no checkpoint to open with another embedder than its own")
        inverter = open_checkpoint(specs[name].checkpoint(), place, embedder)
    elif folder.is_dir():
        inverter = open_checkpoint(folder, place, embedder)
    elif name.count("/") == 1 and not name.startswith((".", "/", "~")):
        inverter = open_checkpoint(_from_hub(name), place, embedder)
    else:
        raise _unknown("inverter", name, specs, "a checkpoint folder or a hub id owner/name works too")
    if self_test:
        _test(inverter)
    return inverter


def load_embedder(name: str, *, device: "str | torch.device | None" = None) -> "Embedder":
    """The black box of that name, `name` or `name:argument`; raises UnknownNameError."""
    kind, _, argument = name.partition(":")
    specs = _offers("embedders")
    if kind not in specs:
        raise _unknown("embedder", name, specs, "some take an argument, as in st:FOLDER")
    embedder: Embedder = specs[kind].load(argument, choose_device(device))
    return embedder


def modality(name: str) -> Modality:
    """The modality of that name; raises UnknownNameError."""
    specs = _offers("modalities")
    if name not in specs:
        raise _unknown("modality", name, specs, "is its plugin installed?")
    found: Modality = specs[name]
    return found


def commands() -> dict[str, CommandSpec]:
    """The commands that plugins offer, by name."""
    return _offers("commands")


def open_checkpoint(folder: Path, device: "torch.device", embedder: str | None = None) -> "Inverter":
    """Open a checkpoint folder with its modality's plugin and check that its embedder is the right one.

    With `embedder` the manifest's is replaced. One that is metered is checked when it is first asked.
    """
    from unembed.checkpoint import read_manifest
    from unembed.fingerprinting import fingerprint, same

    manifest = read_manifest(folder)
    wanted, own = manifest.embedder["fingerprint"], manifest.embedder["name"]
    if embedder is not None:
        manifest = manifest.model_copy(update={"embedder": {**manifest.embedder, "name": embedder, "own": own}})
    inverter = modality(manifest.modality).open(folder, manifest, device)
    inverter.manifest = manifest
    box = inverter.embedder
    if box.dimension != manifest.embedder.get("dimension", box.dimension):
        raise EmbedderMismatchError(
            f"{folder} inverts vectors of {own!r}, which are {manifest.embedder['dimension']} wide; those of "
            f"{box.name!r} are {box.dimension} wide"
        )

    def check() -> None:
        found = fingerprint(box, inverter.codec)
        if not same(wanted, found):
            raise EmbedderMismatchError(
                f"{folder} was trained against {own!r} (fingerprint {wanted['hash']}), but "
                f"{box.name!r} answers otherwise (fingerprint {found['hash']}); install the embedder "
                f"that it names, or load another inverter"
            )

    if wanted is not None and box.meter is not None:
        box.before_first(check)
    elif wanted is not None:
        check()
    return inverter


def _test(inverter: "Inverter") -> None:
    """Invert what the checkpoint's self-test names; raises CheckpointError when it comes back worse than it did."""
    test = inverter.manifest.self_test if inverter.manifest is not None else None
    if test is None:
        raise CheckpointError(f"inverter {inverter.name!r} has no self-test to run")
    found = inverter.invert(inverter.embed([test["object"]]), steps=test["steps"], beam=test["beam"])
    reached = float(found.similarity[0])
    if reached < test["similarity"] - 0.02:
        raise CheckpointError(
            f"inverter {inverter.name!r} fails its self-test: similarity {reached:.3f}, {test['similarity']:.3f} when "
            f"it was saved; its weights may be damaged"
        )


@cache
def _discover(points: tuple[EntryPoint, ...]) -> tuple[PluginInfo, ...]:
    return tuple(_load_one(point) for point in points)


def _load_one(point: EntryPoint) -> PluginInfo:
    """Load one plugin on its own manager, so that a broken one breaks nothing else."""
    dist = point.dist
    identity = (point.name, dist.name if dist else "unknown", dist.version if dist else "unknown")
    manager = pluggy.PluginManager("unembed")
    manager.add_hookspecs(hooks)
    try:
        manager.register(point.load(), name=point.name)
        manager.check_pending()
        hook = manager.hook
        return PluginInfo(
            *identity,
            inverters=tuple(spec for specs in hook.register_inverters() for spec in specs),
            embedders=tuple(spec for specs in hook.register_embedders() for spec in specs),
            modalities=tuple(spec for specs in hook.register_modalities() for spec in specs),
            commands=tuple(spec for specs in hook.register_commands() for spec in specs),
        )
    except Exception as error:  # a stranger's code: whatever it raises is kept, shown and raised when asked for
        return PluginInfo(*identity, error=error)


def _offers(kind: str) -> dict[str, Any]:
    """Everything of one kind by name; a name from two plugins is an error that names both."""
    found: dict[str, Any] = {}
    source: dict[str, PluginInfo] = {}
    for plugin in plugins():
        for spec in getattr(plugin, kind):
            if spec.name in found:
                other = source[spec.name]
                raise PluginError(
                    f"{kind[:-1]} {spec.name!r} is offered by both {other.distribution} ({other.name}) and "
                    f"{plugin.distribution} ({plugin.name}); uninstall one of them"
                )
            found[spec.name], source[spec.name] = spec, plugin
    return found


def _unknown(kind: str, name: str, specs: Mapping[str, Any], more: str) -> Exception:
    known = ", ".join(sorted(specs)) or "none"
    for plugin in plugins():
        if plugin.error is not None and plugin.name == name.partition(":")[0]:
            error = PluginError(f"plugin {plugin.name!r} of {plugin.distribution} failed to load: {plugin.error}")
            error.__cause__ = plugin.error
            return error
    broken = ", ".join(plugin.name for plugin in plugins() if plugin.error is not None)
    hint = f"; plugins that failed to load: {broken} (see `unembed plugins`)" if broken else ""
    return UnknownNameError(f"no {kind} {name!r}; known: {known}; {more}{hint}")


def choose_device(device: "str | torch.device | None") -> "torch.device":
    """The device of that name, by default the accelerator if there is one; raises InputError."""
    import torch

    try:
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {str(device)!r} can't be used here: {str(error).splitlines()[0]}") from error
    return place


def _from_hub(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
    except ImportError as error:
        raise MissingExtraError("reading from the hub needs an extra: pip install 'unembed[text]'") from error
    try:
        return Path(snapshot_download(name))
    except (RepositoryNotFoundError, LocalEntryNotFoundError, HfHubHTTPError) as error:
        known = ", ".join(sorted(_offers("inverters"))) or "none"
        raise UnknownNameError(
            f"no inverter {name!r}: it is no folder here and the hub didn't give it; known names: {known}"
        ) from error
