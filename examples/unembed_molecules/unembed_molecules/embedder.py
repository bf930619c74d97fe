"""The black box: RDKit's Morgan fingerprint, compared by Tanimoto."""

import numpy as np
import torch
from rdkit.Chem import rdFingerprintGenerator
from torch import Tensor

import unembed
from unembed_molecules.codec import read_molecule

__all__ = ["BITS", "MorganEmbedder", "by_name", "tanimoto"]

BITS = 2048


def tanimoto(a: Tensor, b: Tensor) -> Tensor:
    """Row-wise Tanimoto of two batches of bits or counts, each `[N, D]`, as float32 `[N]`: Σ min / Σ max."""
    shared, either = torch.minimum(a, b).sum(-1), torch.maximum(a, b).sum(-1)
    return torch.where(either > 0, shared / either.clamp_min(1), 1.0)


class MorganEmbedder(unembed.Embedder):
    """Morgan fingerprints (Rogers and Hahn 2010) of radius 2, folded to 2,048 bits or counts.

    A row that spells no molecule that RDKit accepts gets zeros, which no molecule has.
    """

    def __init__(self, *, counts: bool = False, device: torch.device | str = "cpu") -> None:
        super().__init__(
            name="morgan:counts" if counts else "morgan",
            modality="molecule",
            dimension=BITS,
            normalized=False,
            device=device,
            similarity=tanimoto,
        )
        self.counts = counts
        generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=BITS)
        self._read = generator.GetCountFingerprintAsNumPy if counts else generator.GetFingerprintAsNumPy

    def _embed(self, signals: Tensor) -> Tensor:
        rows = [self._fingerprint(row) for row in signals.tolist()]
        return torch.from_numpy(np.stack(rows)).to(self.device)

    def _fingerprint(self, row: list[int]) -> np.ndarray:
        molecule = read_molecule(row)
        if molecule is None:
            return np.zeros(BITS, dtype=np.float32)
        return self._read(molecule).astype(np.float32)


def by_name(argument: str, device: torch.device) -> MorganEmbedder:
    """`morgan` or `morgan:counts`."""
    if argument not in ("", "counts"):
        raise unembed.InputError(f"morgan takes no argument or counts, not {argument!r}")
    return MorganEmbedder(counts=argument == "counts", device=device)
