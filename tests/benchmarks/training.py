"""How fast the text inverter trains: examples a second and the share of the device's own peak, all work included.

A network of the bundled one's size from a config in the shape of `examples/train_minilm.toml`; texts are made up unless
files are given (`python tests/benchmarks/training.py TEXTS … --shares 1,1,1,1`). On a CPU a few small batches stand in.
"""

import argparse
import random
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import torch

from unembed.config import parse
from unembed.registry.discovery import method
from unembed.training import TrainConfig, Trainer
from unembed.training.report import peak_tflops
from unembed_text.plugin import WEIGHTS

WORDS = (Path(__file__).parents[2] / "README.md").read_text().split()


class Enough(Exception):
    """Ends the training once it has been timed."""


def made_up(folder: Path) -> Path:
    """Texts of random words, which train as fast as real ones."""
    draw = random.Random(0)
    path = folder / "texts.txt"
    path.write_text("\n".join(" ".join(draw.choices(WORDS, k=40)) for _ in range(20_000)))
    return path


def hypotheses(trainer: Trainer, steps: int) -> float:
    """Microseconds an example that drawing, embedding and writing hypotheses take."""
    device = trainer.recipe.embedder.device
    draw, noise = torch.Generator().manual_seed(1), torch.Generator(device).manual_seed(1)
    began = time.perf_counter()
    examples = trainer._examples(steps, draw, noise)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / sum(len(example.signals) for example in examples) * 1e6


def main() -> None:
    """Train for three rounds and say what each did; the work counted is that of training, hypotheses left out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("texts", type=Path, nargs="*")
    parser.add_argument("--shares", default="1,1,2,2,3,3,4,4", help="of batches, for equal ranges of length up to 32")
    options = parser.parse_args()
    fast = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as name:
        recipe = {
            "name": "bench",
            "embedder": "minilm",
            "start": str(WEIGHTS / "minilm"),
            "train": options.texts or [made_up(Path(name))],
            "validation": [],
            "near": 0.15,
            "shares": [float(share) for share in options.shares.split(",")],
            "batch_tokens": 65536 if fast else 128,
            "device": "cuda" if fast else "cpu",
            "seed": 0,
        }
        round_steps = 256 if fast else 4
        config = {
            "modality": "text",
            "output": Path(name),
            "steps": 4 * round_steps,
            "round_steps": round_steps,
            "guess_steps": 0,
            "depth": 3,
            "precision": "bf16" if fast else "no",
            "compile": fast,
            "save_every": 10**9,
            "evaluate_every": 10**9,
        }
        trainer = Trainer(parse(TrainConfig, config, "benchmark"), method("closed").recipe(recipe))
        peak = peak_tflops(trainer.recipe.embedder.device)
        rounds: list[None] = []

        def show(kind: str, step: int, values: dict[str, float]) -> None:
            rounds.append(None)
            rate, tflops = values["examples_per_second"], values["tflops"]
            what = "compiling too:" if len(rounds) == 1 else ""
            print(
                f"{what:<15}{rate:8.0f} examples/s, {tflops:7.2f} of {peak:.0f} TFLOP/s, {tflops / peak:.1%}",
                flush=True,
            )
            if len(rounds) == 3:
                raise Enough

        with suppress(Enough):
            trainer.run(show)
        print(f"{hypotheses(trainer, round_steps):.1f} µs an example go into its hypotheses")


if __name__ == "__main__":
    main()
