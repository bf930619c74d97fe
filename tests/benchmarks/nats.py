"""What texts cost a network, in nats a text, given their vectors and one hypothesis: a comparison for a CPU.

    nats.py FILE.parquet CHECKPOINT … --tokens 16 32 --samples 96 [--only KIND …]

The hypotheses are the first checkpoint's greedy guesses, the same for all. Columns: a first guess, a correction; the
same from vectors with noise of 0.01 a value, told and untold.
"""

import argparse
import random
from pathlib import Path

import pyarrow.parquet
import torch

import unembed
from unembed_text.generation import sample

SIGMA = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--tokens", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--samples", type=int, default=96)
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    table = pyarrow.parquet.read_table(arguments.data, columns=["text", "source"]).to_pylist()
    random.Random(0).shuffle(table)
    texts = [x["text"] for x in table if not arguments.only or x["source"].partition("/")[0] in arguments.only]
    inverters = [unembed.load(path, device="cpu") for path in arguments.checkpoints]
    first, *_ = inverters
    for tokens in arguments.tokens:
        some = texts[: 50 * arguments.samples]
        long = [text for text, length in zip(some, first.codec.lengths(some), strict=True) if length >= tokens]
        signals = first.codec.first(long[: arguments.samples], tokens)[:, :tokens]
        vectors = first.embedder.embed(signals)
        with torch.no_grad():
            network, draw = first.corrector.network, torch.Generator().manual_seed(0)  # type: ignore[attr-defined]
            greedy = torch.zeros(len(vectors))
            states = network.encode(vectors, None, None)
            hypothesis = sample(network, *states, length=tokens, temperature=greedy, generator=draw)
            answer = first.embedder.embed(hypothesis)
            rough = vectors + SIGMA * torch.randn(vectors.shape, generator=draw)
            told, untold = torch.full_like(greedy, SIGMA), torch.full_like(greedy, torch.nan)
            for path, inverter in zip(arguments.checkpoints, inverters, strict=True):
                network, pair = inverter.corrector.network, (hypothesis, answer)  # type: ignore[attr-defined]
                losses = [
                    network(vectors, signals),
                    network(vectors, signals, *pair),
                    *(network(rough, signals, *pair, noise=noise) for noise in (None, told, untold)),
                ]
                row = "  ".join(f"{(tokens + 1) * float(loss):6.2f}" for loss in losses)
                print(f"{Path(path).name:12} {tokens:3} tokens, {len(signals)} texts: {row}", flush=True)


if __name__ == "__main__":
    main()
