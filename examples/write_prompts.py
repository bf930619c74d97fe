"""Prompts to train an inverter of a language model on: the model writes them itself, from its bare user turn.

    python examples/write_prompts.py --model smollm2 --apart test.parquet --count 3000000 --out written.parquet
    python examples/write_prompts.py --templates --apart test.parquet --count 100000 --out templates.parquet

Prompts that share a run of eight words with those of the files after --apart are left out, and so are repetitions; a
file after --hold-out gets the first of them, which the others share no run with either. What is written can be used as
soon as the program ends, at --count or after --seconds.
"""

import argparse
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from unembed import load_embedder, read_passages
from unembed.errors import UnembedError
from unembed_lm.embedders.local import LocalModel
from unembed_lm.prompts.apart import HeldPrompts
from unembed_lm.prompts.templates import filled_templates
from unembed_lm.prompts.writing import written_prompts

GROUP = 50_000  # prompts written to the file at once


def opened(name: str, device: str) -> LocalModel:
    """A model that runs here, in half precision on a GPU."""
    model = load_embedder(name, device=device)
    if not isinstance(model, LocalModel):
        raise SystemExit(f"{name} doesn't run here; name smollm2, lm:FOLDER or lm:HUB_ID")
    return model.halved() if device.startswith("cuda") else model


def fresh(texts: Iterator[str], held: HeldPrompts, end: float) -> Iterator[str]:
    """Those that are new and apart from what is held out, until `end`."""
    seen: set[int] = set()
    for text in texts:
        if time.monotonic() > end:
            return
        key = hash(text)
        if key not in seen and not held.overlap(text):
            seen.add(key)
            yield text


def save(path: Path, texts: Iterator[str]) -> int:
    """Write texts as they come; returns how many."""
    written = 0
    with pq.ParquetWriter(path, pa.schema({"text": pa.string()}), compression="zstd") as file:
        while part := list(islice(texts, GROUP)):
            file.write_table(pa.table({"text": part}))
            written += len(part)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", help="smollm2, lm:FOLDER or lm:HUB_ID")
    source.add_argument("--templates", action="store_true", help="fill in templates instead")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--apart", type=Path, nargs="*", default=[], help="files of test prompts")
    parser.add_argument("--hold-out", type=Path, help="file for the first --held of them")
    parser.add_argument("--held", type=int, default=1_000)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--longest", type=int, default=40, help="tokens of the longest prompt")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--at-once", type=int, default=4096)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    try:
        apart = [text for path in options.apart for text in read_passages(path)]
        if options.templates:
            texts = filled_templates(options.seed)
        else:
            model = opened(options.model, options.device)
            draw = torch.Generator(model.device).manual_seed(options.seed)
            how = {"longest": options.longest, "temperature": options.temperature, "generator": draw}
            texts = written_prompts(model, rows=options.at_once, **how)
    except UnembedError as error:
        parser.error(str(error))
    held: list[str] = []
    if options.hold_out is not None:
        held = list(islice(fresh(texts, HeldPrompts(apart), float("inf")), options.held))
        save(options.hold_out, iter(held))
    found = fresh(texts, HeldPrompts([*apart, *held]), began + options.seconds)
    count = save(options.out, islice(found, options.count))
    print(f"{count:,} prompts in {time.monotonic() - began:.0f} s, {len(held):,} held out")


if __name__ == "__main__":
    main()
