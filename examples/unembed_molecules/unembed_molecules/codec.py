"""Molecules to SELFIES tokens and back. Every molecule has one spelling: that of its canonical SMILES."""

from collections.abc import Sequence
from typing import Any, ClassVar

import selfies
import torch
from rdkit import Chem, rdBase
from torch import Tensor

import unembed

__all__ = ["TOKENS", "WIDTH", "SelfiesCodec", "read_molecule"]

WIDTH = 128  # tokens in the longest molecule; 0 pads
# What molecules of C, N, O, S, P and halogens, without charges and stereochemistry, are spelled with.
_SPELLING = (
    "[C] [=C] [#C] [N] [=N] [#N] [NH1] [O] [=O] [F] [Cl] [Br] [I] "
    "[S] [=S] [#S] [SH1] [SH2] [SH3] [SH4] [=SH1] [=SH2] [=SH3] [#SH1] [#SH2] "
    "[P] [=P] [#P] [PH1] [PH2] [PH3] [PH4] [=PH1] [=PH2] [=PH3] [#PH1] [#PH2] "
    "[Ring1] [Ring2] [=Ring1] [=Ring2] [Branch1] [Branch2] [=Branch1] [=Branch2] [#Branch1] [#Branch2]"
)
TOKENS = _SPELLING.split()
_NUMBER = {token: number for number, token in enumerate(TOKENS, start=1)}


def read_molecule(row: Sequence[int]) -> Chem.Mol | None:
    """The molecule that one row of token numbers spells, or None where RDKit accepts none."""
    return _read(selfies.decoder("".join(TOKENS[number - 1] for number in row if number)))


class SelfiesCodec(unembed.Codec):
    """SMILES `str` ↔ int64 `[N, 128]`: SELFIES tokens from 1, padded with 0.

    SELFIES (Krenn et al. 2020) spells a molecule with every sequence of tokens, so whatever a network writes is one.
    The few that RDKit refuses, or that have no spelling of at most 128 known tokens, decode to `""`, no molecule.
    """

    probes: ClassVar[Sequence[str]] = ("CCO", "CC(=O)Nc1ccc(O)cc1", "Cn1cnc2c1c(=O)n(C)c(=O)n2C")

    def _encode(self, objects: Sequence[Any]) -> Tensor:
        signals = torch.zeros(len(objects), WIDTH, dtype=torch.long)
        for row, smiles in enumerate(objects):
            molecule = _read(smiles) if isinstance(smiles, str) else None
            if molecule is None:
                raise unembed.InputError(f"input {row} is no SMILES that RDKit can read: {smiles!r}")
            tokens = _spelling(Chem.MolToSmiles(molecule))
            if len(tokens) > WIDTH or not _NUMBER.keys() >= set(tokens):
                strange = ", ".join(sorted(set(tokens) - _NUMBER.keys())) or f"{len(tokens)} tokens"
                raise unembed.InputError(
                    f"input {row}, {smiles!r}, needs {strange}; known are C, N, O, S, P and halogens without charge, "
                    f"isotopes or stereochemistry, in at most {WIDTH} SELFIES tokens"
                )
            signals[row, : len(tokens)] = torch.tensor([_NUMBER[token] for token in tokens])
        return signals

    def _decode(self, signals: Tensor) -> list[str]:
        return [self._smiles(row) for row in signals.tolist()]

    def _smiles(self, row: list[int]) -> str:
        molecule = read_molecule(row)
        smiles = "" if molecule is None else Chem.MolToSmiles(molecule)
        tokens = _spelling(smiles)
        return smiles if len(tokens) <= WIDTH and _NUMBER.keys() >= set(tokens) else ""


def _read(smiles: str) -> Chem.Mol | None:
    with rdBase.BlockLogs():
        return Chem.MolFromSmiles(smiles)


def _spelling(smiles: str) -> list[str]:
    """The SELFIES tokens of a canonical SMILES; itself, which is no token, where SELFIES has none."""
    try:
        return list(selfies.split_selfies(selfies.encoder(smiles))) if smiles else []
    except selfies.EncoderError:
        return [smiles]
