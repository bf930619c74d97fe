"""What comes back of each kind of text: a row a kind and length.

    by_kind.py CHECKPOINT held-out.parquet --tokens 16 32 --samples 24 --effort max
    by_kind.py CHECKPOINT validation.parquet --whole --tokens 16 --noise 0.01 --tell

Kinds are the file's sources up to a slash; with --whole the file is one kind. `--noise` adds noise to the vectors,
`--tell` tells the network its size. With several GPUs one process each (CUDA_VISIBLE_DEVICES) and `--part 0/2`.
Prints JSON lines, the last the mean of the kinds. *content* is the share of a text's different content words that
come back.
"""

import argparse
import json
import random
import time
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet
import torch

import unembed
from unembed_text.codecs.wordpiece import TextCodec
from unembed_text.content import content_share
from unembed_text.methods.closed.network import InversionNetwork

AT_ONCE = 108  # texts searched for together


def kinds_of(path: Path, whole: bool) -> dict[str, list[str]]:
    """The file's passages by kind, shuffled alike each time."""
    table = pyarrow.parquet.read_table(path, columns=["text", "source"])
    kinds: dict[str, list[str]] = defaultdict(list)
    for text, source in zip(*(table[name].to_pylist() for name in ("text", "source")), strict=True):
        kinds[path.stem if whole else source.partition("/")[0]].append(text)
    for passages in kinds.values():
        random.Random(0).shuffle(passages)
    return dict(sorted(kinds.items()))


def chosen(codec: TextCodec, kinds: dict[str, list[str]], tokens: int, count: int) -> list[tuple[str, torch.Tensor]]:
    """The first `tokens` of `count` passages of each kind that has so many, kinds by turns."""
    rows = {}
    for kind, passages in kinds.items():
        some = passages[: 100 * count]
        long = [text for text, length in zip(some, codec.lengths(some), strict=True) if length >= tokens]
        rows[kind] = codec.first(long[:count], tokens) if long else []
    return [(kind, rows[kind][index]) for index in range(count) for kind in rows if len(rows[kind]) == count]


def roughly(inverter: unembed.Inverter, sigma: float, tell: bool) -> None:
    """Let the vectors that are inverted have noise; queries stay as they are."""
    search, draw = inverter.invert, torch.Generator().manual_seed(0)

    def invert(vectors, **options):  # type: ignore[no-untyped-def]
        return search(vectors + sigma * torch.randn(vectors.shape, generator=draw).to(vectors.device), **options)

    inverter.invert = invert  # type: ignore[method-assign]
    network = inverter.corrector.network  # type: ignore[attr-defined]
    if tell:
        network.encode = lambda t, h, e: InversionNetwork.encode(network, t, h, e, torch.full_like(t[:, 0], sigma))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("data", type=Path)
    parser.add_argument("--tokens", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--only", nargs="*", help="these kinds alone")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--effort", default="max")
    parser.add_argument("--length", type=int, help="most tokens that the inverter writes")
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--tell", action="store_true")
    parser.add_argument("--part", default="0/1", help="of the kinds, by turns")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no other cell after so long")
    arguments = parser.parse_args()
    began = time.monotonic()
    inverter = unembed.load(arguments.checkpoint)
    if arguments.length:
        for part in (inverter.hypothesizer, inverter.corrector):
            part.length = arguments.length  # type: ignore[attr-defined]
    if arguments.noise:
        roughly(inverter, arguments.noise, arguments.tell)
    part, parts = map(int, arguments.part.split("/"))
    kinds = kinds_of(arguments.data, arguments.whole)
    if arguments.only:
        kinds = {kind: passages for kind, passages in kinds.items() if kind in arguments.only}
    for tokens in arguments.tokens:
        items = chosen(inverter.codec, kinds, tokens, arguments.samples)[part::parts]
        found: dict[str, list[tuple[str, str, bool, float]]] = defaultdict(list)
        for start in range(0, len(items), AT_ONCE):
            if time.monotonic() - began > arguments.seconds:
                break
            some = items[start : start + AT_ONCE]
            signals = torch.stack([row for _, row in some])
            result = inverter.invert(inverter.embedder.embed(signals), effort=arguments.effort)
            exact = (result.signals.cpu() == signals).all(1).tolist()
            texts = inverter.codec.decode(signals), result.objects, exact, result.queries.tolist()
            for (kind, _), *row in zip(some, *texts, strict=True):
                found[kind].append(tuple(row))
        rows = [_row(inverter, kind, tokens, found[kind]) for kind in sorted(found)]
        if len(rows) > 1:
            names = ("exact", "bleu", "content", "queries")
            means = {name: round(sum(row[name] for row in rows) / len(rows), 1) for name in names}
            rows.append({"kind": f"mean of {len(rows)}", "tokens": tokens, **means})
        for row in rows:
            print(json.dumps(row), flush=True)
        print(f"# {time.monotonic() - began:.0f} s", flush=True)


def _row(inverter: unembed.Inverter, kind: str, tokens: int, found: list[tuple[str, str, bool, float]]) -> dict:
    originals, texts, exact, queries = (list(column) for column in zip(*found, strict=True))
    bleu = inverter.metrics["bleu"]
    shares = [content_share(a, b) for a, b in zip(originals, texts, strict=True)]
    known = [share for share in shares if share is not None]
    return {
        "kind": kind,
        "tokens": tokens,
        "n": len(found),
        "exact": round(100 * sum(exact) / len(found), 1),
        "bleu": round(bleu.aggregate(bleu.statistics(originals, texts).sum(0)), 1),
        "content": round(100 * sum(known) / max(1, len(known)), 1),
        "queries": round(sum(queries) / len(found)),
    }


if __name__ == "__main__":
    main()
