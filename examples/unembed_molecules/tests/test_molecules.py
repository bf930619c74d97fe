"""The black box against RDKit's own functions, the codec's round trip, and how much correction brings."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator
from unembed_molecules.codec import WIDTH, SelfiesCodec
from unembed_molecules.embedder import MorganEmbedder, tanimoto

import unembed

MOLECULES = (Path(__file__).parents[1] / "held_out.txt").read_text().split()


@pytest.mark.parametrize("counts", [False, True])
def test_embeddings_and_tanimoto_are_rdkits(counts) -> None:
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    make = generator.GetCountFingerprint if counts else generator.GetFingerprint
    known = [make(Chem.MolFromSmiles(smiles)) for smiles in MOLECULES[:20]]
    found = MorganEmbedder(counts=counts).embed(SelfiesCodec().encode(MOLECULES[:20]))
    assert found.sum(1).tolist() == [sum(vector) for vector in map(list, known)]
    wanted = [DataStructs.TanimotoSimilarity(a, b) for a, b in pairwise(known)]
    assert torch.allclose(tanimoto(found[:-1], found[1:]), torch.tensor(wanted))


def test_tanimoto_by_hand() -> None:
    a, b = torch.tensor([[1.0, 2, 0], [0, 0, 0]]), torch.tensor([[2.0, 1, 0], [0, 0, 0]])
    assert tanimoto(a, b).tolist() == [2 / 4, 1]


def test_every_spelling_of_a_molecule_is_one_signal() -> None:
    codec = SelfiesCodec()
    assert torch.equal(codec.encode(["OCC"]), codec.encode(["CCO"]))
    assert codec.decode(codec.encode(["C1=CC=CC=C1O"])) == ["Oc1ccccc1"]


def test_held_out_molecules_come_back_from_their_signals() -> None:
    codec = SelfiesCodec()
    assert codec.decode(codec.encode(MOLECULES)) == [Chem.CanonSmiles(smiles) for smiles in MOLECULES]


@pytest.mark.parametrize(
    ("smiles", "told"),
    [
        ("no molecule", "no SMILES"),
        ("C[N+](C)(C)C", "without charge"),
        ("C" * (WIDTH + 1), "129 tokens"),
        (3, "no SMILES"),
    ],
)
def test_what_is_no_such_molecule_is_refused(smiles, told) -> None:
    with pytest.raises(unembed.InputError, match=told):
        SelfiesCodec().encode(["CCO", smiles])


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(unembed.InputError, match="counts, not 'bits'"):
        unembed.load_embedder("morgan:bits")


def test_correction_recovers_at_least_twice_as_many() -> None:
    inverter = unembed.load("morgan", device="cpu")
    vectors = inverter.embed(MOLECULES[:16])
    guessed, corrected = (
        int(inverter.exact(MOLECULES[:16], inverter.invert(vectors, steps=steps)).sum()) for steps in (0, 4)
    )
    assert corrected >= max(2, 2 * guessed)
