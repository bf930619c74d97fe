"""How much comes back from held-out molecules of the MOSES test set: `python measure.py [--inverter NAME]`.

One line a number of steps: exact structure (the same canonical SMILES, with its 95 % Wilson interval), identical
fingerprint, mean Tanimoto, queries a molecule. All lines come from one search: one of fewer steps is its beginning.
"""

import argparse
import time
from pathlib import Path

import torch
from unembed_molecules.embedder import tanimoto

import unembed

HELD_OUT = Path(__file__).parent / "held_out.txt"


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    z = 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    return middle - reach, middle + reach


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inverter", default="morgan", help="morgan, morgan-counts or a checkpoint folder")
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--beam", type=int, default=8)
    parser.add_argument("--patience", type=int, default=3, help="steps without gain after which a target stops")
    parser.add_argument("--steps", type=int, nargs="*", default=[0, 1, 5, 20])
    options = parser.parse_args()
    inverter = unembed.load(options.inverter, device="cpu")
    signals = inverter.codec.encode(HELD_OUT.read_text().split()[: options.samples])
    target, count = inverter.embedder.embed(signals), len(signals)
    began = time.monotonic()
    parts = [
        inverter.invert(part, steps=max(options.steps), beam=options.beam, patience=options.patience, trace=True).trace
        for part in torch.split(target, 64)
    ]
    seconds = (time.monotonic() - began) / count
    searched = f"{count} molecules, beam {options.beam}, patience {options.patience}"
    print(f"{options.inverter}: {searched}, {seconds:.1f} s a molecule in all")
    print("| steps | exact structure | 95 % | identical fingerprint | Tanimoto | queries |\n|---|---|---|---|---|---|")
    for steps in options.steps:
        ends = [trace[min(steps, len(trace) - 1)] for trace in parts if trace]
        found = inverter.codec.encode(inverter.codec.decode(torch.cat([end.signals for end in ends])))
        reached = tanimoto(target, inverter.embedder.embed(found))
        exact = (found == signals).all(1).float().mean().item()
        low, high = wilson(exact, count)
        queries = torch.cat([end.queries for end in ends]).float().mean().item()
        identical = (reached == 1).float().mean().item()
        print(
            f"| {steps} | {exact:.1%} | {low:.1%} to {high:.1%} | {identical:.1%} "
            f"| {reached.mean():.3f} | {queries:.0f} |"
        )


if __name__ == "__main__":
    main()
