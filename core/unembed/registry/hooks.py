"""The hooks by which a plugin offers what it has. A plugin is an entry point of the group `unembed`."""

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from unembed.registry.specs import (
        CommandSpec,
        DefenceSpec,
        EmbedderSpec,
        EngineSpec,
        InverterSpec,
        Method,
        Modality,
        SourceSpec,
    )

__all__ = ["hookimpl"]

hookspec = pluggy.HookspecMarker("unembed")
hookimpl = pluggy.HookimplMarker("unembed")


@hookspec
def register_inverters() -> "list[InverterSpec]":  # type: ignore[empty-body]
    """Inverters that are ready to use under a name."""


@hookspec
def register_embedders() -> "list[EmbedderSpec]":  # type: ignore[empty-body]
    """Black boxes that can be asked for by name, as `name` or `name:argument`."""


@hookspec
def register_modalities() -> "list[Modality]":  # type: ignore[empty-body]
    """Kinds of object: how they are read from files and written to them."""


@hookspec
def register_methods() -> "list[Method]":  # type: ignore[empty-body]
    """Kinds of network for a modality: how their checkpoints are opened and how they are trained."""


@hookspec
def register_sources() -> "list[SourceSpec]":  # type: ignore[empty-body]
    """Kinds of vector store, on disk or running, whose records can be read."""


@hookspec
def register_defences() -> "list[DefenceSpec]":  # type: ignore[empty-body]
    """Changes to vectors before they are stored, that `unembed defend` puts to the test."""


@hookspec
def register_engines() -> "list[EngineSpec]":  # type: ignore[empty-body]
    """Ways to spread the vectors of `unembed invert` over workers."""


@hookspec
def register_commands() -> "list[CommandSpec]":  # type: ignore[empty-body]
    """Commands of the command line, beside the built-in ones."""
