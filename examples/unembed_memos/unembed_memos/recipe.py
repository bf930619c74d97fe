"""Training, and the checkpoint that it writes."""

import random
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import unembed
from unembed_memos.embedder import EchoEmbedder
from unembed_memos.language import MemoCodec, held_out, memo
from unembed_memos.network import MemoCorrector, MemoHypothesizer, MemoNetwork, sample

__all__ = ["MemoRecipe", "build", "memos", "open_checkpoint"]


class Options(unembed.Config):
    """The `[recipe]` table of a training config; `device` and `seed` come from the trainer."""

    hidden: int = 256
    layers: int = 2
    batch: int = 128
    device: str
    seed: int


def memos(seed: int, *, held: bool) -> Iterator[str]:
    """Memos without end: those that training shows, or those that it never does."""
    draw = random.Random(seed)
    while True:
        text = memo(draw)
        if held_out(text) == held:
            yield text


class MemoRecipe(unembed.Recipe):
    """Trains on memos that it draws; see `unembed.Recipe`."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self.options = options = unembed.parse(Options, table, "[recipe]")
        torch.manual_seed(options.seed)
        self.codec = MemoCodec()
        self.embedder = EchoEmbedder(options.device)
        self.config = {"hidden": options.hidden, "layers": options.layers}
        self.network = MemoNetwork(**self.config).to(options.device)

    def batches(self, count: int, generator: torch.Generator) -> list[Tensor]:
        seeds = torch.randint(2**31, (count,), generator=generator).tolist()
        return [self.codec.encode(list(islice(memos(seed, held=False), self.options.batch))) for seed in seeds]

    def propose(
        self,
        target: Tensor,
        hypothesis: Tensor | None,
        embedding: Tensor | None,
        signals: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        return sample(self.network.scores(target, hypothesis, embedding), 2, generator)[:, 1]

    def compile(self) -> None:
        self.network.compile()

    def inverter(self) -> unembed.Inverter:
        return build(self.network, self.embedder)

    def held_out(self) -> list[tuple[str, list[Any]]]:
        return [("memos", list(islice(memos(99, held=True), 128)))]

    def save(self, folder: Path, training: dict[str, Any]) -> None:
        manifest = unembed.Manifest(
            modality="memo",
            method="memo",
            name="memo",
            config=self.config,
            embedder={"name": "echo"},
            training=training,
        )
        unembed.save_checkpoint(folder, self.network.state_dict(), manifest, inverter=self.inverter())

    def flops(self, signals: Tensor, corrected: bool) -> float:
        return 6.0 * len(signals) * sum(p.numel() for p in self.network.parameters())


def open_checkpoint(
    folder: Path, manifest: unembed.Manifest, device: torch.device, embedder: unembed.Embedder | None
) -> unembed.Inverter:
    """The inverter of a checkpoint folder; `embedder` is asked in place of its own, if there is one."""
    _, tensors = unembed.load_checkpoint(folder, manifest)
    network = MemoNetwork(**manifest.config)
    network.load_state_dict(tensors)
    return build(network.to(device).eval(), embedder or EchoEmbedder(device))


def build(network: MemoNetwork, embedder: unembed.Embedder) -> unembed.Inverter:
    """Bundle the parts."""
    return unembed.Inverter(
        name="memo",
        embedder=embedder,
        hypothesizer=MemoHypothesizer(network),
        corrector=MemoCorrector(network),
        codec=MemoCodec(),
    )
