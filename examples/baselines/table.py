"""An adapted inverter and simpler attacks on the same vectors, in one table: see README.md beside this file."""

import argparse
import time
from pathlib import Path

import torch
from decoders import EncoderDecoder, PrefixDecoder
from simple import LeastSquares, Nearest
from torch.nn import functional as F

import unembed


def rouge_l(reference: str, found: str) -> float:
    """F1 of the longest common subsequence of words (Lin 2004)."""
    a, b = reference.lower().split(), found.lower().split()
    row = [0] * (len(b) + 1)
    for word in a:
        before = 0
        for place, other in enumerate(b, 1):
            before, row[place] = row[place], before + 1 if word == other else max(row[place], row[place - 1])
    return 2 * row[-1] / max(1, len(a) + len(b))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embedder", required=True, help="the model to attack, as `unembed adapt` takes it")
    parser.add_argument("--data", type=Path, required=True, help="texts for pairs: .txt or .parquet")
    parser.add_argument("--test", type=Path, required=True, help="texts to recover")
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=300, help="training time of each of the two decoders")
    parser.add_argument("--effort", nargs="*", default=["low"], help="efforts of the adapted inverter")
    parser.add_argument("--max-queries", type=int, help="of each text")
    parser.add_argument("--base", default="minilm")
    parser.add_argument("--out", type=Path, required=True, help="folder for the adapted inverter")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()

    base = unembed.load(given.base, device=given.device)
    codec, length = base.codec, given.max_tokens
    if not isinstance(codec, unembed.SequenceCodec):
        parser.error("--base must recover texts")
    cut = {
        name: codec.decode(codec.first(unembed.read_passages(path), length)[:count])
        for name, path, count in (("data", given.data, given.pairs), ("test", given.test, given.samples))
    }
    adapted = unembed.adapt(
        given.out, embedder=given.embedder, data=cut["data"], pairs=given.pairs, max_tokens=[length], base=given.base,
        device=given.device,
    )  # fmt: skip
    vectors, target = (adapted.embed(cut[name]) for name in ("data", "test"))
    print(f"{given.embedder}, {len(cut['data'])} pairs; {len(cut['test'])} texts of {length} tokens\n")
    print("| | exact | BLEU | F1 | ROUGE-L | cosine | queries |\n|---|---|---|---|---|---|---|")

    def row(name: str, texts: list[str], queries: float) -> None:
        known = [text or "." for text in texts]
        again = adapted.embed(known)
        exact = (codec.encode(known) == codec.encode(cut["test"])).all(1).float().mean()
        scores = {
            key: metric.aggregate(metric.statistics(cut["test"], known).sum(0)) for key, metric in base.metrics.items()
        }
        rouge = sum(map(rouge_l, cut["test"], known)) / len(known)
        cosine = F.cosine_similarity(target, again, dim=-1).mean()
        figures = f"{exact:.1%} | {scores['bleu']:.1f} | {scores['token_f1']:.2f} | {rouge:.2f} | {cosine:.3f}"
        print(f"| {name} | {figures} | {queries:.0f} |", flush=True)

    for name, attack in (("nearest text", Nearest()), ("least squares", LeastSquares(base))):
        attack.fit(vectors, cut["data"])
        row(name, attack.guess(target), 0)
    for name, kind in (("prefix decoder", PrefixDecoder), ("encoder–decoder", EncoderDecoder)):
        network = kind(codec.tokenizer, adapted.dimension, length)
        steps = network.fit(vectors, cut["data"], given.seconds)
        row(f"{name}, {steps} steps", network.guess(target), 0)
    guess = adapted.parts["guess"](target, 1, torch.Generator().manual_seed(0))[:, 0]
    row("adapted, 0 steps", codec.decode(guess), 0)
    for effort in given.effort:
        began = time.monotonic()
        found = adapted.invert(target, effort=effort, max_queries=given.max_queries)
        queries = float(found.queries.double().mean())
        row(f"adapted, {effort}, {(time.monotonic() - began) / len(target):.1f} s a text", found.objects, queries)


if __name__ == "__main__":
    main()
