"""How fast the text inverter trains: examples a second and the share of the device's own peak, all work included.

A network of the bundled one's size from a config in the shape of `examples/train_minilm.toml`; texts are made up unless
files are given (`python tests/benchmarks/training.py TEXTS …`). On a CPU two layers and few steps stand in.
"""

import random
import sys
import tempfile
from pathlib import Path

import torch

from unembed.config import parse
from unembed.registry import modality
from unembed.training import TrainConfig, Trainer
from unembed.training.report import peak_tflops
from unembed_text.plugin import WEIGHTS

WORDS = (Path(__file__).parents[2] / "README.md").read_text().split()


def made_up(folder: Path) -> Path:
    """Texts of random words, which train as fast as real ones."""
    draw = random.Random(0)
    path = folder / "texts.txt"
    path.write_text("\n".join(" ".join(draw.choices(WORDS, k=40)) for _ in range(20_000)))
    return path


def main() -> None:
    """Train a few rounds; the first, which compiles, isn't counted."""
    fast = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as name:
        texts = [Path(path) for path in sys.argv[1:]] or [made_up(Path(name))]
        recipe = {
            "name": "bench",
            "embedder": "minilm",
            "start": str(WEIGHTS / "minilm"),
            "train": texts,
            "validation": [],
            "near": 0.15,
            "shares": [1, 1, 2, 2, 3, 3, 4, 4],
            "batch_tokens": 65536 if fast else 512,
            "device": "cuda" if fast else "cpu",
            "seed": 0,
        }
        round_steps = 256 if fast else 8
        shared = {"modality": "text", "output": Path(name), "depth": 3, "guess_steps": 0, "evaluate_every": 10**9}
        shared |= {"save_every": 10**9, "precision": "bf16" if fast else "no", "compile": fast}
        config = parse(TrainConfig, {**shared, "round_steps": round_steps, "steps": 3 * round_steps}, "benchmark")
        rows: list[dict[str, float]] = []
        trainer = Trainer(config, modality("text").recipe(recipe))
        trainer.evaluating = False
        peak = peak_tflops(trainer.recipe.embedder.device)
        trainer.run(lambda kind, step, values: rows.append(values) if kind == "scalars" else None)
        for row in rows[1:]:
            rate, tflops = row["examples_per_second"], row["tflops"]
            print(f"{rate:9.0f} examples/s, {tflops:6.1f} TFLOP/s of {peak:.0f} measured: {tflops / peak:.1%} of peak")


if __name__ == "__main__":
    main()
