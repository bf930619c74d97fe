"""Train the tagger: `python -m unembed_audit.tagger.training --records records.parquet --out tagger.safetensors`.

At full size (5,000 steps of 64) it is meant for one GPU. On one CPU core `--minutes 7 --batch 16 --rate 2e-4` trains
what is shipped; `--steps 20 --batch 8 --limit 400` tries it out.
"""

import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor
from torch.nn import functional as F

from unembed.errors import InputError
from unembed_audit.findings.detect import detect_all
from unembed_audit.plugin import LIBRARIES
from unembed_audit.tagger.changing import Speller, corrupted, names_of, renamed, spellers
from unembed_audit.tagger.examples import (
    Example,
    Record,
    plain_sentences,
    read_records,
    split_kinds,
    tagged,
    windows,
)
from unembed_audit.tagger.labels import OUTSIDE, UNSURE
from unembed_audit.tagger.network import TaggerManifest, TaggerNetwork, base_folder, fingerprint, save_network
from unembed_audit.tagger.scoring import score_spans
from unembed_audit.tagger.silver import known_names, silver_sentences
from unembed_audit.tagger.tagging import Tagger

__all__ = ["Options", "batches", "loss", "main", "train"]

# Kinds of record that are only tested on: of banks, clinics, logs, shops, families, and free prose.
HELD_OUT = ("patient", "bank", "secincident", "order", "school", "voicemail", "contactcard", "casework")
LOCALES = (
    "en_US", "en_GB", "en_IN", "en_NZ", "de_DE", "fr_FR", "es_ES", "es_MX", "it_IT",
    "pt_BR", "nl_NL", "sv_SE", "da_DK", "no_NO", "fi_FI", "pl_PL", "cs_CZ", "ro_RO",
    "hu_HU", "hr_HR", "tr_TR", "id_ID", "fil_PH", "vi_VN", "az_AZ", "et_EE", "lt_LT",
    "lv_LV", "sk_SK", "sl_SI", "sq_AL", "zu_ZA", "yo_NG", "ga_IE",
)  # fmt: skip

MOST_PASSAGES = 60_000


@dataclass(frozen=True)
class Options:
    """How to train: `tuned` are the layers, `longest` a stretch in words.

    `plain` is the share of ordinary sentences that name nobody, `silver` that of those whose names are labelled by
    rule. `minutes` ends a training on a slow machine: the rate falls by the time that is left.
    """

    steps: int = 5000
    batch: int = 64
    longest: int = 64
    tuned: int = 3
    rate: float = 1e-4
    head_rate: float = 1e-3
    warmup: float = 0.05
    plain: float = 0.1
    silver: float = 0.25
    corrupt: float = 0.5
    rename: float = 0.5
    seed: int = 0
    minutes: float | None = None


def batches(
    records: Sequence[Example],
    sentences: Sequence[Example],
    silver: Sequence[Example],
    options: Options,
    *,
    spell: dict[str, Speller],
    names: Sequence[tuple[str, ...]],
) -> Iterator[list[Example]]:
    """Batches without end: records renamed, half of them corrupted, and ordinary sentences among them.

    Texts of about one length go together, so that little is padded.
    """
    draw = random.Random(options.seed)

    def one() -> Example:
        kind = draw.random()
        if sentences and kind < options.plain:
            chosen = draw.choice(sentences)
        else:
            named = bool(silver) and kind < options.plain + options.silver
            chosen = draw.choice(silver if named else records)
            # Short stretches from anywhere: what a template's other words are can't be leant on.
            chosen = windows(chosen, draw.randint(6, options.longest), draw)
            chosen = renamed(chosen, draw, spell=spell, names=names, share=options.rename)
        return corrupted(chosen, draw) if draw.random() < options.corrupt else chosen

    while True:
        many = sorted((one() for _ in range(16 * options.batch)), key=lambda example: len(example.words))
        starts = list(range(0, len(many), options.batch))
        draw.shuffle(starts)
        for start in starts:
            yield many[start : start + options.batch]


def encoded(batch: Sequence[Example], tokenizer: Any, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, mask and tags, each `[N, L]`: every piece of a word has the word's tag."""
    read = tokenizer(
        [list(one.words) for one in batch],
        is_split_into_words=True,
        padding=True,
        truncation=True,
        max_length=256,
        return_tensors="pt",
    )
    tags = torch.full(read["input_ids"].shape, UNSURE)
    for row, one in enumerate(batch):
        for place, word in enumerate(read.word_ids(row)):
            if word is not None:
                tags[row, place] = one.tags[word]
    return read["input_ids"].to(device), read["attention_mask"].to(device), tags.to(device)


def loss(network: TaggerNetwork, ids: Tensor, mask: Tensor, tags: Tensor) -> Tensor:
    """Mean cross-entropy a token."""
    return F.cross_entropy(network(ids, mask).flatten(0, 1).float(), tags.flatten(), ignore_index=UNSURE)


def train(
    network: TaggerNetwork, tokenizer: Any, source: Iterator[list[Example]], options: Options, device: torch.device
) -> list[float]:
    """Train in place; returns the loss of each step. The rate rises over `warmup` of the way, then falls to 0."""
    torch.manual_seed(options.seed)
    network.to(device).train()
    head = [one for name, one in network.changed().items() if name.startswith("head.")]
    layers = [one for name, one in network.changed().items() if not name.startswith("head.")]
    optimizer = torch.optim.AdamW(
        [{"params": layers, "lr": options.rate}, {"params": head, "lr": options.head_rate}], weight_decay=0.01
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    losses: list[Tensor] = []
    clock = time.process_time if device.type == "cpu" else time.monotonic
    began = clock()
    for step in range(options.steps):
        done = step / options.steps
        if options.minutes is not None:
            done = max(done, (clock() - began) / (60 * options.minutes))
        if done >= 1:
            break
        for group, full in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = full * min(1, (done + 1 / options.steps) / options.warmup, 1 - done)
        ids, mask, tags = encoded(next(source), tokenizer, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            value = loss(network, ids, mask, tags)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.changed().values(), 1.0)
        optimizer.step()
        losses.append(value.detach())
        if step % 50 == 0:
            recent = float(torch.stack(losses[-50:]).mean())
            click.echo(f"step {step}, {clock() - began:.0f} s: loss {recent:.3f}", err=True)
    network.eval()
    return torch.stack(losses).tolist()


def measure(network: TaggerNetwork, tokenizer: Any, records: Sequence[Record], device: torch.device) -> dict[str, Any]:
    """Detection on records of kinds that weren't trained on: the tagger alone, and together with the formats.

    The formats need the libraries of the extra `audit`; without them the tagger is measured alone.
    """
    tagger = Tagger(network, tokenizer, device=device)
    found: dict[str, Any] = {"records": len(records), "tagger": score_spans(records, tagger)}
    if all(find_spec(name) is not None for name in LIBRARIES):
        found["with formats"] = score_spans(records, lambda texts: detect_all(texts, tag=tagger))
    return found


@click.command()
@click.option(
    "--records", type=click.Path(exists=True, path_type=Path), required=True, help="Records with spans, Parquet."
)
@click.option("--passages", type=click.Path(exists=True, path_type=Path), multiple=True, help="Ordinary text, Parquet.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File for the tagger.")
@click.option("--limit", type=click.IntRange(1), help="Most records to read.  [default: all]")
@click.option(
    "--test", "tested", type=click.IntRange(1), default=2000, show_default=True, help="Held-out records to test on."
)
@click.option("--steps", type=click.IntRange(1), default=Options.steps, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=Options.batch, show_default=True)
@click.option("--tuned", type=click.IntRange(0, 6), default=Options.tuned, show_default=True, help="Layers to tune.")
@click.option(
    "--names", type=click.IntRange(0), default=30_000, show_default=True, help="Names of more origins, by faker."
)
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    help="Stop after so long; on a CPU, of its time.  [default: --steps]",
)
@click.option("--rate", type=float, default=Options.rate, show_default=True, help="Learning rate of the tuned layers.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", help="cpu or cuda.  [default: the accelerator if there is one]")
def main(
    records: Path,
    passages: tuple[Path, ...],
    out: Path,
    limit: int | None,
    tested: int,
    steps: int,
    batch: int,
    tuned: int,
    names: int,
    minutes: float | None,
    rate: float,
    seed: int,
    device: str | None,
) -> None:
    """Train the tagger of names and other spans on records whose spans are known, and test it on kinds held out."""
    from transformers import AutoTokenizer

    from unembed.devices import choose_device
    from unembed.sources.passages import read_passages

    began, where, folder = time.monotonic(), choose_device(device), base_folder()
    options = Options(steps=steps, batch=batch, tuned=tuned, rate=rate, seed=seed, minutes=minutes)
    learnt, held = split_kinds(read_records(records, limit=limit), HELD_OUT)
    if not learnt or not held:
        raise InputError(
            f"{records} has {len(learnt)} records to learn from and {len(held)} of {', '.join(HELD_OUT)} to test on"
        )
    examples = [tagged(record) for record in learnt]
    texts = [text for path in passages for text in read_passages(path)]
    random.Random(seed).shuffle(texts)
    texts = texts[:MOST_PASSAGES]
    sentences = list(plain_sentences(texts))
    spell = spellers(examples)
    more = names_of(LOCALES, names, seed=seed) if names else []
    silver = list(silver_sentences(texts, known_names(examples, more, texts)))
    kept = sum(any(tag != OUTSIDE for tag in one.tags) for one in examples)
    click.echo(
        f"{len(examples)} records ({kept} with spans), {len(sentences)} sentences that "
        f"name nobody, {len(silver)} that do, {len(more)} names more",
        err=True,
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = TaggerNetwork.on_minilm(folder, tuned=tuned)
    losses = train(
        network, tokenizer, batches(examples, sentences, silver, options, spell=spell, names=more), options, where
    )
    found = measure(network, tokenizer, held[:tested], where)
    spent = time.monotonic() - began
    training = {
        **vars(options),
        "records": len(examples),
        "sentences": len(sentences),
        "silver": len(silver),
        "names": len(more),
        "held_out": list(HELD_OUT),
        "seconds": round(spent),
    }
    save_network(network, out, TaggerManifest(tuned, fingerprint(folder), training, found))
    click.echo(json.dumps({"loss": [losses[0], losses[-1]], "seconds": spent, "bytes": out.stat().st_size, **found}))


if __name__ == "__main__":
    main()
