"""What the plugin offers. RDKit, torch and the weights wait for the factories."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import unembed

if TYPE_CHECKING:
    import torch

WEIGHTS = Path(__file__).parent / "weights"


@unembed.hookimpl
def register_inverters() -> "list[unembed.InverterSpec]":
    return [
        unembed.InverterSpec("morgan", "molecules (SMILES) from Morgan fingerprints of 2,048 bits", _shipped("morgan")),
        unembed.InverterSpec("morgan-counts", "the same from 2,048 counts", _shipped("morgan-counts")),
    ]


@unembed.hookimpl
def register_embedders() -> "list[unembed.EmbedderSpec]":
    return [unembed.EmbedderSpec("morgan", "RDKit's Morgan fingerprint: morgan or morgan:counts", _embedder)]


@unembed.hookimpl
def register_modalities() -> "list[unembed.Modality]":
    return [unembed.Modality("molecule", "molecules as SELFIES tokens", _open, _recipe)]


def _shipped(name: str) -> "Callable[[torch.device], unembed.Inverter]":
    return lambda device: unembed.load(str(WEIGHTS / name), device=device)


def _embedder(argument: str, device: "torch.device") -> "unembed.Embedder":
    from unembed_molecules.embedder import MorganEmbedder

    if argument not in ("", "counts"):
        raise unembed.InputError(f"morgan takes no argument or counts, not {argument!r}")
    return MorganEmbedder(counts=argument == "counts", device=device)


def _open(folder: Path, manifest: "unembed.Manifest", device: "torch.device") -> "unembed.Inverter":
    from unembed_molecules.inverter import open_checkpoint

    return open_checkpoint(folder, manifest, device)


def _recipe(table: Mapping[str, Any]) -> "unembed.Recipe":
    from unembed_molecules.recipe import MoleculeRecipe

    return MoleculeRecipe(table)
