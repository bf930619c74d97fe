"""Pictures of recovered molecules: `python draw.py OUT.png`; a row a held-out molecule, a column a number of steps."""

import sys
from pathlib import Path

from rdkit import Chem
from rdkit.Chem import Draw

import unembed

STEPS = (0, 1, 5, 20)


def main() -> None:
    """Write the picture."""
    if len(sys.argv) != 2:
        sys.exit("usage: python draw.py OUT.png")
    molecules = (Path(__file__).parent / "held_out.txt").read_text().split()[:4]
    inverter = unembed.load("morgan", device="cpu")
    vectors = inverter.embed(molecules)
    found = {steps: inverter.invert(vectors, steps=steps) for steps in STEPS}
    cells, legends = [], []
    for row, smiles in enumerate(molecules):
        cells += [smiles, *(found[steps].objects[row] for steps in STEPS)]
        legends += ["original", *(f"{steps} steps: {found[steps].similarity[row]:.2f}" for steps in STEPS)]
    drawn = [Chem.MolFromSmiles(smiles) for smiles in cells]
    picture = Draw.MolsToGridImage(drawn, molsPerRow=5, subImgSize=(190, 150), legends=legends, returnPNG=True)
    Path(sys.argv[1]).write_bytes(picture)


if __name__ == "__main__":
    main()
