"""Training: molecules drawn from a list, the network's loss and its present hypotheses."""

import gzip
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import unembed
from unembed_molecules.codec import SelfiesCodec
from unembed_molecules.inverter import build_inverter
from unembed_molecules.network import MoleculeNetwork

__all__ = ["MoleculeRecipe", "read_smiles"]


class Options(unembed.Config):
    """The `[recipe]` table."""

    name: str = "morgan"
    embedder: str = "morgan"
    train: str
    validation: str
    held_out: int = 64
    batch: int = 16
    width: int = 96
    layers: int = 2
    heads: int = 2
    device: str
    seed: int


def read_smiles(source: str) -> list[str]:
    """The first column of a .csv, .smi or .txt file (a header `SMILES` is left out), or `moses:train`, `moses:test`."""
    path = Path(source)
    if source.startswith("moses:"):
        package = find_spec("moses")
        if package is None or package.origin is None:
            raise unembed.InputError(f"{source} needs the MOSES set: pip install --no-deps molsets==0.3.1")
        path = Path(package.origin).parent / "dataset" / "data" / f"{source.removeprefix('moses:')}.csv.gz"
    try:
        text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text("utf-8")
    except OSError as error:
        raise unembed.InputError(f"can't read molecules from {source}: {error}") from error
    rows = [line.replace(",", " ").split()[0] for line in text.splitlines() if line.strip()]
    return rows[1:] if rows and rows[0] == "SMILES" else rows


class MoleculeRecipe(unembed.Recipe):
    """See `unembed.Recipe`."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self.options = options = unembed.parse(Options, table, "[recipe]")
        torch.manual_seed(options.seed)
        self.codec = SelfiesCodec()
        self.embedder = unembed.load_embedder(options.embedder, device=options.device)
        self.config = {"width": options.width, "layers": options.layers, "heads": options.heads}
        self.network = MoleculeNetwork(**self.config).to(options.device)
        self.molecules = read_smiles(options.train)

    def batches(self, count: int, generator: torch.Generator) -> list[Tensor]:
        picks = torch.randint(len(self.molecules), (count, self.options.batch), generator=generator).tolist()
        return [self.codec.encode([self.molecules[index] for index in row]) for row in picks]

    def propose(
        self,
        target: Tensor,
        hypothesis: Tensor | None,
        embedding: Tensor | None,
        signals: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        self.network.eval()
        warmth = torch.tensor([0.4], device=target.device)  # between the likeliest molecule and the boldest sample
        written = self.network.write(target, hypothesis, embedding, warmth, generator)[:, 0]
        self.network.train()
        return written

    def compile(self) -> None:
        self.network.compile()

    def inverter(self) -> unembed.Inverter:
        return build_inverter(self.options.name, self.network, self.embedder)

    def held_out(self) -> list[tuple[str, list[Any]]]:
        return [("molecules", read_smiles(self.options.validation)[: self.options.held_out])]

    def save(self, folder: Path, training: dict[str, Any]) -> None:
        options = self.options
        manifest = unembed.Manifest(
            modality="molecule",
            method="molecule",
            name=options.name,
            config=self.config,
            embedder={"name": options.embedder},
            training=training,
        )
        weights, inverter = self.network.state_dict(), self.inverter()
        unembed.save_checkpoint(folder, weights, manifest, inverter=inverter, storage="float16")

    def flops(self, signals: Tensor, corrected: bool) -> float:
        return 6.0 * int((signals > 0).sum()) * sum(p.numel() for p in self.network.blocks.parameters())
