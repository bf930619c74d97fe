"""Finding plugins and what they offer. Nothing is imported before somebody asks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from unembed.passages import read_passages

if TYPE_CHECKING:
    import click
    import torch

    from unembed.checkpoint import Manifest
    from unembed.interfaces import Embedder
    from unembed.inverter import Inversion, Inverter
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
    "modality_of",
    "open_checkpoint",
    "plugin",
    "plugins",
]

GROUP = "unembed"
KINDS = {"inverters": "inverter", "embedders": "embedder", "modalities": "modality", "commands": "command"}


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
    """A kind of signal: `open(folder, manifest, device)` a checkpoint, make a `recipe(table)` to train by.

    `read(path, column=None)` gives the objects of a file or folder, passages unless said otherwise. Where objects
    are no text, `write(folder, inverter, inputs, inversion)` leaves the results as files, whatever else is worth
    looking at beside them, and returns the files of the results in order; `inputs` is None for vectors alone.
    """

    name: str
    summary: str
    open: "Callable[[Path, Manifest, torch.device], Inverter]"
    recipe: "Callable[[Mapping[str, Any]], Recipe]"
    read: Callable[..., list[Any]] = read_passages
    write: "Callable[[Path, Inverter, Sequence[Any] | None, Inversion], list[Path]] | None" = None


@dataclass(frozen=True)
class CommandSpec:
    """A command of the command line; `load()` gives the click command, and only then are libraries read."""

    name: str
    summary: str
    load: "Callable[[], click.Command]"


@dataclass(frozen=True)
class PluginInfo:
    """One entry point: what it offers, and the error that kept it from loading or that it makes beside another."""

    name: str
    distribution: str
    version: str
    module: str
    inverters: tuple[InverterSpec, ...] = ()
    embedders: tuple[EmbedderSpec, ...] = ()
    modalities: tuple[Modality, ...] = ()
    commands: tuple[CommandSpec, ...] = ()
    error: BaseException | None = field(default=None, compare=False)


def plugins() -> tuple[PluginInfo, ...]:
    """Every installed plugin, the broken ones with their error."""
    return _discover(tuple(sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))))


def plugin(name: str) -> PluginInfo:
    """The installed plugin of that name, its entry point's; raises UnknownNameError."""
    for found in plugins():
        if found.name == name:
            return found
    known = ", ".join(found.name for found in plugins()) or "none"
    raise UnknownNameError(f"no plugin {name!r} is installed; known: {known}")


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
    folder = Path(name).expanduser()
    spec = _offered("inverters", name)
    if spec is not None and embedder is None:
        inverter: Inverter = spec.load(place)
    elif spec is not None:
        if spec.checkpoint is None:
            raise InputError(f"inverter {name!r} has no checkpoint to open with another embedder than its own")
        inverter = open_checkpoint(spec.checkpoint(), place, embedder)
    elif folder.is_dir():
        inverter = open_checkpoint(folder, place, embedder)
    elif name.count("/") == 1 and not name.startswith((".", "/", "~")):
        inverter = open_checkpoint(_from_hub(name), place, embedder)
    else:
        raise _unknown("inverters", name, "a checkpoint folder or a hub id owner/name works too")
    if self_test:
        _test(inverter)
    return inverter


def load_embedder(name: str, *, device: "str | torch.device | None" = None) -> "Embedder":
    """The black box of that name, `name` or `name:argument`; raises UnknownNameError."""
    kind, _, argument = name.partition(":")
    spec = _offered("embedders", kind)
    if spec is None:
        raise _unknown("embedders", name, "some take an argument, as in st:FOLDER")
    embedder: Embedder = spec.load(argument, choose_device(device))
    return embedder


def modality(name: str) -> Modality:
    """The modality of that name; raises UnknownNameError."""
    found: Modality | None = _offered("modalities", name)
    if found is None:
        raise _unknown("modalities", name, "is its plugin installed?")
    return found


def modality_of(inverter: "Inverter") -> Modality | None:
    """The modality of the inverter's embedder, or None where no plugin offers one of that name."""
    found: Modality | None = _offered("modalities", inverter.embedder.modality)
    return found


def commands() -> list[str]:
    """The names of the commands that plugins offer."""
    return sorted(_offers("commands"))


def command(name: str) -> CommandSpec | None:
    """The plugins' command of that name, or None; raises PluginError where two plugins offer it."""
    found: CommandSpec | None = _offered("commands", name)
    return found


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
                return _several(kind, spec.name, owners)
    return None


def _several(kind: str, name: str, owners: Sequence[PluginInfo]) -> PluginError:
    named = " and ".join(f"{owner.distribution} ({owner.name})" for owner in owners)
    both = "both " if len(owners) == 2 else ""
    return PluginError(f"{KINDS[kind]} {name!r} is offered by {both}{named}; uninstall all but one of them")


def _offers(kind: str) -> dict[str, list[tuple[PluginInfo, Any]]]:
    """Everything of one kind by name, each with the plugins that offer it."""
    found: dict[str, list[tuple[PluginInfo, Any]]] = {}
    for info in plugins():
        for spec in getattr(info, kind):
            found.setdefault(spec.name, []).append((info, spec))
    return found


def _offered(kind: str, name: str) -> Any:
    """The one spec of that name, or None; a name from two plugins is an error that names both."""
    owners = _offers(kind).get(name, [])
    if len(owners) > 1:
        raise _several(kind, name, [info for info, _ in owners])
    return owners[0][1] if owners else None


def _unknown(kind: str, name: str, more: str) -> Exception:
    for info in plugins():
        if info.error is not None and info.name == name.partition(":")[0]:
            error = PluginError(f"plugin {info.name!r} of {info.distribution} failed to load: {info.error}")
            error.__cause__ = info.error
            return error
    known = ", ".join(sorted(_offers(kind))) or "none"
    broken = ", ".join(info.name for info in plugins() if info.error is not None)
    hint = f"; plugins that failed to load: {broken} (see `unembed plugins`)" if broken else ""
    return UnknownNameError(f"no {KINDS[kind]} {name!r}; known: {known}; {more}{hint}")


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
