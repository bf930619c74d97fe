"""More texts to train on than there are: a small language model goes on from the beginnings of passages.

    python examples/write_texts.py --model FOLDER --data train.parquet --count 1000000 --out written.parquet
    unembed train examples/train_minilm.toml --set 'recipe.train=["train.parquet", "written.parquet"]'

The model is any causal one of transformers': a folder, a hub id, or a .gguf file (with the package gguf installed).
"""

import argparse
import random
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from unembed.errors import InputError
from unembed.sources.passages import read_passages

# Tokens of a passage that are given, at least and at most; passages of fewer words than the most are left out.
GIVEN = 4, 10


def opened(model: str, device: str) -> tuple[AutoTokenizer, AutoModelForCausalLM]:
    """A causal language model, in half precision on a GPU, and its tokenizer."""
    path, more = Path(model), {}
    if path.suffix == ".gguf":
        model, more = str(path.parent), {"gguf_file": path.name}
    tokenizer = AutoTokenizer.from_pretrained(model, **more)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    return tokenizer, AutoModelForCausalLM.from_pretrained(model, dtype=dtype, **more).to(device).eval()


def counted(word: str) -> int:
    """A number of at least 1."""
    if (number := int(word)) < 1:
        raise argparse.ArgumentTypeError(f"at least 1, not {number}")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=counted, default=1_000_000)
    parser.add_argument("--tokens", type=counted, default=32, help="tokens written after what is given, at most")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--at-once", type=counted, default=4096)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so many")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    torch.manual_seed(options.seed)
    try:
        passages = [text for path in options.data for text in read_passages(path) if len(text.split()) >= GIVEN[1]]
        if not passages:
            raise InputError(f"no text of {GIVEN[1]} words or more to go on from")
        tokenizer, model = opened(options.model, options.device)
    except (ImportError, InputError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        parser.error(
            f"{reason} (--data takes texts, --model a folder, hub id or .gguf file of a causal language model)"
        )
    how = GenerationConfig(
        do_sample=True,
        temperature=options.temperature,
        top_k=0,
        max_new_tokens=options.tokens,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    began, written, texts = time.monotonic(), 0, []
    with pq.ParquetWriter(options.out, pa.schema({"text": pa.string()}), compression="zstd") as file:
        while written < options.count and time.monotonic() - began < options.seconds:
            chosen = draw.sample(passages, min(options.at_once, options.count - written, len(passages)))
            # As many tokens of each, so that nothing is padded: attention without a mask is several times as fast.
            given = draw.randint(*GIVEN)
            beginnings = [" ".join(text.split()[:given]) for text in chosen]
            rows = [row[:given] for row in tokenizer(beginnings).input_ids if len(row) >= given]
            ids = torch.tensor(rows, device=options.device)
            with torch.inference_mode():
                made = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=how)
            texts = [" ".join(text.split()) for text in tokenizer.batch_decode(made, skip_special_tokens=True)]
            file.write_table(pa.table({"text": texts}))
            written += len(texts)
            print(f"{written} texts, {written / (time.monotonic() - began):.0f} a second", file=sys.stderr, flush=True)
    for text in texts[:5]:
        print(text)


if __name__ == "__main__":
    main()
