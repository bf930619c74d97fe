"""How far confidence is off on vectors that were rounded: expected calibration error, for each rounding.

    python tests/benchmarks/texts/confidence.py --data texts.txt --samples 100

The first 8, 12 and 16 tokens of each text are embedded, rounded and inverted; the last column is to stay under 0.03.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unembed import load, read_passages
from unembed.defaults import EFFORT
from unembed.inversion.calibration import calibration_counts, calibration_error

LENGTHS = (8, 12, 16)


def int8(vectors: Tensor) -> Tensor:
    """Eight bits a number, each vector with a scale of its own, scaled back."""
    scale = vectors.abs().amax(1, keepdim=True) / 127
    return (vectors / scale).round() * scale


ROUNDINGS = {
    "float32": lambda vectors: vectors,
    "float16": lambda vectors: vectors.half().float(),
    "int8": int8,
    "3 decimals": lambda vectors: torch.from_numpy(np.round(vectors.numpy().astype(np.float64), 3)).float(),
}


def main() -> None:
    """Print a line for each rounding."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--inverter", default="minilm")
    parser.add_argument("--effort", default=EFFORT)
    parser.add_argument("--samples", type=int, default=100, help="texts of each length")
    given = parser.parse_args()
    inverter = load(given.inverter)
    passages = read_passages(given.data)
    signals = torch.cat([inverter.codec.first(passages, length)[: given.samples] for length in LENGTHS])
    vectors = inverter.embedder.embed(signals).cpu()
    print(f"{'vectors':<14}{'n':>5}{'exact':>8}{'confidence':>12}{'off by':>8}")
    for name, rounded in ROUNDINGS.items():
        found = inverter.invert(rounded(vectors), effort=given.effort)
        exact = (found.signals.cpu() == signals).flatten(1).all(1)
        if found.confidence is None:
            raise SystemExit(f"inverter {given.inverter!r} has no calibration; see unembed calibrate")
        sure = found.confidence.cpu()
        error = calibration_error(calibration_counts(sure, exact).sum(0))
        print(f"{name:<14}{len(exact):>5}{exact.float().mean():>8.3f}{sure.mean():>12.3f}{error:>8.3f}", flush=True)


if __name__ == "__main__":
    main()
