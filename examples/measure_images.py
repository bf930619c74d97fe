"""An image inverter at several numbers of steps on held-out photographs, from one search, and a grid to look at.

    python examples/measure_images.py --inverter clip-tiny --data tiny-imagenet/validation.parquet \
        --samples 4040 --beam 3 --patience 20 --grid clip-tiny.jpg

Prints what `unembed evaluate --json` does, a line for each number of steps. The grid's images are drawn at random.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

import unembed
from unembed.inversion.evaluation import Evaluation, evaluate_steps
from unembed_image.files import read_images
from unembed_image.networks.blocks import compiled
from unembed_image.sheet import drawn

SHOWN = 32
BLOCK = 8  # rows of a block of the grid
SKIPPED = 2  # steps that the grid leaves out


def grid(steps: list[int], found: list[Evaluation], seed: int) -> Image.Image:
    """Random originals and their reconstructions in blocks side by side, similarity under each."""
    count = min(SHOWN, found[0].n)
    pick = torch.randperm(found[0].n, generator=torch.Generator().manual_seed(seed))[:count].tolist()
    blocks = []
    for start in range(0, count, BLOCK):
        rows = pick[start : start + BLOCK]
        columns = [("original", [found[0].references[row] for row in rows], [f"no. {row}" for row in rows])]
        for number, result in zip(steps, found, strict=True):
            if number != SKIPPED:
                values = result.similarity[torch.tensor(rows, device=result.similarity.device)].tolist()
                images = [result.reconstructions[row] for row in rows]
                columns.append((f"step {number}", images, [f"{value:.3f}" for value in values]))
        blocks.append(drawn(columns, len(rows), cell=64))
    sheet = Image.new("RGB", (sum(block.width for block in blocks), max(block.height for block in blocks)), "white")
    left = 0
    for block in blocks:
        sheet.paste(block, (left, 0))
        left += block.width
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inverter", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=4040)
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 1, 2, 5, 20])
    parser.add_argument("--effort", default="medium")
    parser.add_argument("--beam", type=int)
    parser.add_argument("--patience", type=int, help="steps without progress after which a search ends")
    parser.add_argument("--guesses", type=int, help="first guesses, in place of the effort's own")
    parser.add_argument("--edits", type=int, help="edits tried a step, in place of the effort's own")
    parser.add_argument("--max-queries", type=int)
    parser.add_argument("--at-once", type=int, default=1024, help="images searched for together")
    parser.add_argument("--grid", type=Path, help="where to write the picture (.jpg, .png or .webp)")
    parser.add_argument("--half", action="store_true", help="a black box in half precision, on an accelerator")
    parser.add_argument("--compile", action="store_true", help="networks and black box compiled, which takes a minute")
    parser.add_argument("--device")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    inverter = unembed.load(options.inverter, device=options.device)
    if options.half:  # of what the search asks; measures keep their precision
        inverter.embedder.forward = torch.autocast("cuda", torch.float16)(inverter.embedder.forward)
    if options.compile:
        compiled(inverter.hypothesizer.network)
        inverter.embedder.backbone.model.compile()
    search = inverter.settings(
        options.effort, beam=options.beam, patience=options.patience, max_queries=options.max_queries
    )
    if options.guesses is not None:
        search = replace(search, start=unembed.Guess(count=options.guesses))
    if options.edits is not None:
        edited = unembed.Combine(count=options.edits, oversample=1)
        search = replace(search, moves=(*(move for move in search.moves if move.on == "frontier"), edited))
    signals = inverter.codec.encode(read_images(options.data)[: options.samples])
    began = time.monotonic()

    def progress(step: unembed.Step) -> None:
        print(f"step {step.number}: {step.active} left, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)

    found = evaluate_steps(
        inverter,
        signals,
        options.steps,
        effort=search,
        at_once=options.at_once,
        seed=options.seed,
        on_step=progress,
    )
    for number, result in zip(options.steps, found, strict=True):
        print(json.dumps({"inverter": inverter.name, "steps": number, **result.summary()}), flush=True)
    if options.grid is not None:
        options.grid.parent.mkdir(parents=True, exist_ok=True)
        grid(options.steps, found, options.seed).save(options.grid, quality=85)


if __name__ == "__main__":
    main()
