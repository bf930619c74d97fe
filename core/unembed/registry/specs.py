"""What a plugin offers, as data: a name, a summary and a factory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unembed.sources.passages import read_passages

if TYPE_CHECKING:
    import click
    import torch

    from unembed.bulk.blocks import Engine
    from unembed.checkpoints.manifest import Manifest
    from unembed.contract.defence import Defence
    from unembed.contract.embedder import Embedder
    from unembed.inversion.inverter import Inverter
    from unembed.inversion.results import Inversion
    from unembed.sources.records import SourceContents, SourceRequest
    from unembed.training.recipe import Recipe

__all__ = [
    "CommandSpec",
    "DefenceSpec",
    "EmbedderSpec",
    "EngineSpec",
    "InverterSpec",
    "Method",
    "Modality",
    "PluginInfo",
    "SourceSpec",
]


@dataclass(frozen=True)
class InverterSpec:
    """An inverter under a name. Weights and libraries are read when it is asked for, not before.

    Give `checkpoint`, which returns the folder of one, or `load(device)`, which builds an inverter that has none.
    `embedder` names its black box and `dimension` the width of the vectors that it inverts: by these
    `unembed.registry.discovery.fitting` finds the inverters for some vectors without loading any.
    """

    name: str
    summary: str
    load: "Callable[[torch.device], Inverter] | None" = None
    checkpoint: "Callable[[], Path] | None" = None
    embedder: str | None = None
    dimension: int | None = None


@dataclass(frozen=True)
class EmbedderSpec:
    """A black box, asked for as `name` or `name:argument`; `load(argument, device)` builds it."""

    name: str
    summary: str
    load: "Callable[[str, torch.device], Embedder]"


@dataclass(frozen=True)
class Modality:
    """A kind of object: how it is read and written.

    `read(path, column=None)` gives the objects of a file or folder, passages unless said otherwise. Where objects
    are no text, `write(folder, inverter, inputs, inversion)` leaves the results as files, whatever else is worth
    looking at beside them, and returns the files of the results in order; `inputs` is None for vectors alone. It is
    called as searches end, after the first time with `first=`, the number of the first of these results.
    `picture(object)` gives an object as the bytes of a PNG, where it is to be looked at rather than read; such objects
    are given to a codec as the bytes of a file. `method` is the one meant where only the modality is named; with one
    method it needn't be said.
    """

    name: str
    summary: str
    read: Callable[..., list[Any]] = read_passages
    write: "Callable[[Path, Inverter, Sequence[Any] | None, Inversion], list[Path]] | None" = None
    method: str | None = None
    picture: "Callable[[Any], bytes] | None" = None


@dataclass(frozen=True)
class Method:
    """A kind of network for one modality: how a checkpoint of it is opened, and how one is trained.

    `open(folder, manifest, device, embedder)` builds the inverter of a checkpoint; `embedder` is asked in place of the
    one that the manifest names, unless it is None. `recipe(table)` makes a `Recipe` of a config's `[recipe]`; a method
    without one isn't trained by `unembed train`. `depth` is the largest that a config may ask for, where the recipe
    has a limit. `adapt(folder, inverter, …)` writes a checkpoint that aims an inverter of the
    modality at another embedder, and returns that inverter; its options are those of `unembed.adapt`.
    """

    name: str
    modality: str
    summary: str
    open: "Callable[[Path, Manifest, torch.device, Embedder | None], Inverter]"
    recipe: "Callable[[Mapping[str, Any]], Recipe] | None" = None
    depth: int | None = None
    adapt: "Callable[..., Inverter] | None" = None


@dataclass(frozen=True)
class SourceSpec:
    """A kind of vector store: `recognises(place)` says whether a path or URL is one, `open` reads it.

    `recognises` looks at the name, the first bytes or what a folder holds, and imports no library; `place` is what
    the user typed. `name:PLACE` asks for this kind without looking. `open(place, request)` raises InputError for what
    it can't read and MissingExtraError where its library is missing; it never writes to the source.
    """

    name: str
    summary: str
    recognises: Callable[[str], bool]
    open: "Callable[[str, SourceRequest], SourceContents]"


@dataclass(frozen=True)
class DefenceSpec:
    """A defence, asked for as `name` or `name:argument`; `load(argument)` builds it and raises InputError.

    `parameter` names the argument in messages and lists, as in `gaussian:SIGMA`; one without takes none.
    """

    name: str
    summary: str
    load: "Callable[[str], Defence]"
    parameter: str | None = None


@dataclass(frozen=True)
class EngineSpec:
    """Workers that invert blocks of vectors, as `unembed invert --engine name` asks for them.

    `load(workers=, device=)` gives a context manager, an `unembed.bulk.blocks.Engine`, of so many workers on such a
    device; where these are None, it takes what there is.
    """

    name: str
    summary: str
    load: "Callable[..., Engine]"


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
    methods: tuple[Method, ...] = ()
    sources: tuple[SourceSpec, ...] = ()
    defences: tuple[DefenceSpec, ...] = ()
    engines: tuple[EngineSpec, ...] = ()
    commands: tuple[CommandSpec, ...] = ()
    error: BaseException | None = field(default=None, compare=False)
