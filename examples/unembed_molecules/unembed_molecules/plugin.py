"""What the plugin offers. RDKit, torch and the weights wait for the factories."""

from functools import partial
from pathlib import Path

import unembed

WEIGHTS = Path(__file__).parent / "weights"


@unembed.hookimpl
def register_inverters() -> "list[unembed.InverterSpec]":
    summaries = {
        "morgan": ("molecules (SMILES) from Morgan fingerprints of 2,048 bits", "morgan"),
        "morgan-counts": ("the same from 2,048 counts", "morgan:counts"),
    }
    return [
        unembed.InverterSpec(name, summary, checkpoint=partial(Path, WEIGHTS / name), embedder=embedder, dimension=2048)
        for name, (summary, embedder) in summaries.items()
    ]


@unembed.hookimpl
def register_embedders() -> "list[unembed.EmbedderSpec]":
    build = unembed.lazy("unembed_molecules.embedder:by_name")
    return [unembed.EmbedderSpec("morgan", "RDKit's Morgan fingerprint: morgan or morgan:counts", build)]


@unembed.hookimpl
def register_modalities() -> "list[unembed.Modality]":
    return [unembed.Modality("molecule", "molecules as SELFIES tokens")]


@unembed.hookimpl
def register_methods() -> "list[unembed.Method]":
    open_checkpoint = unembed.lazy("unembed_molecules.inverter:open_checkpoint")
    recipe = unembed.lazy("unembed_molecules.recipe:MoleculeRecipe")
    summary = "a transformer that writes a molecule token by token"
    return [unembed.Method("molecule", "molecule", summary, open_checkpoint, recipe)]
