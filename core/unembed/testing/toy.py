"""A modality small enough to test everything with: short words over eight letters.

It is a plugin like any other, though not installed as one: an entry point `unembed_toy = unembed.testing.toy`
in the group `unembed` offers an inverter, an embedder, a modality and a method, all called "toy".
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from unembed.checkpoints.manifest import EmbedderEntry, Manifest, network_config
from unembed.checkpoints.tensors import check_fit, load_checkpoint, save_checkpoint
from unembed.config import Config, parse
from unembed.contract.codec import SequenceCodec
from unembed.contract.embedder import Embedder
from unembed.contract.metric import Metric
from unembed.contract.proposers import Corrector, Hypothesizer
from unembed.errors import InputError
from unembed.inversion.bootstrap import mean
from unembed.inversion.inverter import Inverter
from unembed.registry.hooks import hookimpl
from unembed.registry.specs import EmbedderSpec, InverterSpec, Method, Modality
from unembed.training.recipe import Recipe

__all__ = ["LETTERS", "ToyCodec", "ToyEmbedder", "ToyRecipe", "open_checkpoint", "toy_inverter", "words"]

LETTERS = "abcdefgh"
WIDTH = 8  # letters in the longest word; 0 pads
DIMENSION = 24


def words(count: int, *, seed: int = 0) -> list[str]:
    """`count` random words of 1 to 8 letters."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, WIDTH + 1, (count,), generator=draw).tolist()
    letters = torch.randint(len(LETTERS), (count, WIDTH), generator=draw).tolist()
    return ["".join(LETTERS[i] for i in row[:length]) for row, length in zip(letters, lengths, strict=True)]


class ToyCodec(SequenceCodec):
    """`str` to int64 `[N, 8]`: letters from 1, padded with 0. A letter is a word."""

    word: ClassVar[str | None] = "."
    probes: ClassVar[Sequence[str]] = ("a", "cafe", "headache"[:WIDTH])
    width = WIDTH

    def _encode(self, objects: Sequence[Any]) -> Tensor:
        signals = torch.zeros(len(objects), WIDTH, dtype=torch.long)
        for row, word in enumerate(objects):
            if not isinstance(word, str) or not word or set(word) - set(LETTERS):
                raise InputError(f"input {row} isn't a word over {LETTERS!r}: {word!r}")
            for place, letter in enumerate(word[:WIDTH]):
                signals[row, place] = LETTERS.index(letter) + 1
        return signals

    def _decode(self, signals: Tensor) -> list[str]:
        return ["".join(LETTERS[i - 1] for i in row if i) or "a" for row in signals.tolist()]

    def _lengths(self, objects: Sequence[Any]) -> list[int]:
        return [len(word) for word in objects]

    def _first(self, objects: Sequence[Any], length: int) -> Tensor:
        cut = [word[:length] for word in objects if len(word) >= length]
        return self._encode(cut) if cut else torch.zeros(0, WIDTH, dtype=torch.long)


class ToyEmbedder(Embedder):
    """A fixed random map: a vector for each letter at each place, summed, bent and normalised."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        super().__init__(name="toy", modality="toy", dimension=DIMENSION, normalized=True, device=device)
        draw = torch.Generator().manual_seed(7)
        self.table = torch.randn(WIDTH, len(LETTERS) + 1, DIMENSION, generator=draw).to(self.device)

    def _embed(self, signals: Tensor) -> Tensor:
        places = torch.arange(WIDTH, device=signals.device)
        return F.normalize(torch.tanh(self.table[places, signals].sum(1) / 4), dim=-1)


def best(scores: Tensor, count: int) -> Tensor:
    """The places of the `count` highest scores `[N, K]`, best first; over again where there are fewer."""
    order = scores.topk(min(count, scores.shape[1])).indices
    return order[:, torch.arange(count, device=scores.device) % order.shape[1]]


class NearestWords(Hypothesizer):
    """The nearest of a few hundred known words."""

    def __init__(self, embedder: ToyEmbedder, codec: ToyCodec) -> None:
        self.signals = codec.encode(sorted(set(words(300, seed=1)))).to(embedder.device)
        self.embeddings = embedder.embed(self.signals)

    def _hypothesize(self, target: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
        return self.signals[best(target @ self.embeddings.T, count)]


class OneLetter(Corrector):
    """Replaces the letter that explains most of what is missing from the hypothesis's embedding."""

    def __init__(self, table: Tensor) -> None:
        self.table = table

    def _correct(
        self,
        target: Tensor,
        hypothesis: Tensor,
        embedding: Tensor,
        count: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        places = torch.arange(WIDTH, device=hypothesis.device)
        change = self.table[None] - self.table[places, hypothesis][:, :, None]  # [N, 8, 9, D]
        gain = ((target - embedding)[:, None, None] * change).sum(-1) / change.norm(dim=-1).clamp_min(1e-6)
        found = best(gain.flatten(1), count)
        place, letter = found // gain.shape[2], found % gain.shape[2]
        return hypothesis[:, None].expand(-1, count, -1).scatter(2, place[..., None], letter[..., None])


class LetterAccuracy(Metric):
    """The share of places that agree, 0 to 1."""

    def statistics(self, references: Sequence[Any], reconstructions: Sequence[Any]) -> Tensor:
        pairs = [(a.ljust(WIDTH), b.ljust(WIDTH)) for a, b in zip(references, reconstructions, strict=True)]
        rows = [[sum(x == y for x, y in zip(a, b, strict=True)) / WIDTH, 1.0] for a, b in pairs]
        return torch.tensor(rows, dtype=torch.float64)

    def aggregate(self, sums: Tensor) -> float:
        return mean(sums)


def toy_inverter(device: torch.device | str = "cpu") -> Inverter:
    """The inverter that needs no training."""
    embedder, codec = ToyEmbedder(device), ToyCodec()
    return Inverter(
        name="toy",
        embedder=embedder,
        hypothesizer=NearestWords(embedder, codec),
        corrector=OneLetter(embedder.table),
        codec=codec,
        metrics={"letter_accuracy": LetterAccuracy()},
    )


class ToyNetwork(nn.Module):
    """Scores `[N, 8, 9]` of every letter at every place, from a target and, if there is one, a hypothesis."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Linear(2 * DIMENSION + WIDTH * (len(LETTERS) + 1), hidden),
            nn.GELU(),
            nn.Linear(hidden, WIDTH * (len(LETTERS) + 1)),
        )

    def scores(self, target: Tensor, hypothesis: Tensor | None, embedding: Tensor | None) -> Tensor:
        """See the class."""
        if hypothesis is None or embedding is None:
            known = target.new_zeros(len(target), DIMENSION + WIDTH * (len(LETTERS) + 1))
        else:
            letters = F.one_hot(hypothesis, len(LETTERS) + 1).flatten(1).to(target.dtype)
            known = torch.cat([target - embedding, letters], 1)
        scores: Tensor = self.inner(torch.cat([target, known], 1))
        return scores.view(len(target), WIDTH, len(LETTERS) + 1)

    def forward(
        self, target: Tensor, signals: Tensor, hypothesis: Tensor | None = None, embedding: Tensor | None = None
    ) -> Tensor:
        """Mean cross-entropy a place."""
        return F.cross_entropy(self.scores(target, hypothesis, embedding).flatten(0, 1), signals.flatten())

    def candidates(self, scores: Tensor, count: int) -> Tensor:
        """The best word, then those with the second choice at one place, the least certain places first."""
        two = scores.topk(2, dim=-1)
        word, other = two.indices.unbind(-1)
        order = (two.values[..., 0] - two.values[..., 1]).argsort(1)
        rows = [word]
        for rank in range(count - 1):
            place = order[:, rank % WIDTH, None]
            rows.append(word.scatter(1, place, other.gather(1, place)))
        return torch.stack(rows, 1)


class _NetworkHypothesizer(Hypothesizer):
    def __init__(self, network: ToyNetwork) -> None:
        self.network = network

    def _hypothesize(self, target: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
        return self.network.candidates(self.network.scores(target, None, None), count)


class _NetworkCorrector(Corrector):
    def __init__(self, network: ToyNetwork) -> None:
        self.network = network

    def _correct(
        self,
        target: Tensor,
        hypothesis: Tensor,
        embedding: Tensor,
        count: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        return self.network.candidates(self.network.scores(target, hypothesis, embedding), count)


class ToyNetworkConfig(Config):
    """A manifest's `config`."""

    hidden: int = Field(ge=1, le=65_536)


class ToyRecipeConfig(Config):
    """The `[recipe]` table."""

    hidden: int = Field(64, ge=1, le=65_536)
    batch: int = Field(64, ge=1, le=65_536)
    device: str
    seed: int


class ToyRecipe(Recipe):
    """Trains a `ToyNetwork` on random words."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = config = parse(ToyRecipeConfig, dict(options), "[recipe]")
        torch.manual_seed(config.seed)
        self.embedder = ToyEmbedder(config.device)
        self.network: ToyNetwork = ToyNetwork(config.hidden).to(config.device)
        self.codec = ToyCodec()

    def batches(self, count: int, generator: torch.Generator) -> list[Tensor]:
        seeds = torch.randint(2**31, (count,), generator=generator).tolist()
        return [self.codec.encode(words(self.options.batch, seed=seed)) for seed in seeds]

    def propose(
        self,
        target: Tensor,
        hypothesis: Tensor | None,
        embedding: Tensor | None,
        signals: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        return self.network.scores(target, hypothesis, embedding).argmax(-1)

    def compile(self) -> None:
        self.network.inner.compile()

    def inverter(self) -> Inverter:
        return _from_network(self.network, self.embedder)

    def held_out(self) -> list[tuple[str, list[Any]]]:
        return [("words", words(32, seed=3))]

    def save(self, folder: Path, training: dict[str, Any]) -> None:
        manifest = Manifest(
            modality="toy",
            method="toy",
            name="toy",
            config={"hidden": self.options.hidden},
            embedder=EmbedderEntry(name="toy"),
            training=training,
        )
        save_checkpoint(folder, self.network.state_dict(), manifest, inverter=self.inverter())

    def flops(self, signals: Tensor, corrected: bool) -> float:
        return 6.0 * len(signals) * sum(p.numel() for p in self.network.parameters())


def _from_network(network: ToyNetwork, embedder: Embedder) -> Inverter:
    return Inverter(
        name="toy",
        embedder=embedder,
        hypothesizer=_NetworkHypothesizer(network),
        corrector=_NetworkCorrector(network),
        codec=ToyCodec(),
        metrics={"letter_accuracy": LetterAccuracy()},
    )


def open_checkpoint(folder: Path, manifest: Manifest, device: torch.device, embedder: Embedder | None) -> Inverter:
    """The inverter of a checkpoint folder."""
    _, tensors = load_checkpoint(folder, manifest)
    hidden = network_config(ToyNetworkConfig, manifest, folder).hidden
    check_fit(lambda: ToyNetwork(hidden), tensors, folder)
    network = ToyNetwork(hidden)
    network.load_state_dict(tensors)
    return _from_network(network.to(device), ToyEmbedder(device) if embedder is None else embedder)


@hookimpl
def register_inverters() -> list[InverterSpec]:
    return [InverterSpec("toy", "words of up to 8 letters", toy_inverter, embedder="toy", dimension=DIMENSION)]


@hookimpl
def register_embedders() -> list[EmbedderSpec]:
    return [EmbedderSpec("toy", "a fixed random map of words", lambda argument, device: ToyEmbedder(device))]


@hookimpl
def register_modalities() -> list[Modality]:
    return [Modality("toy", "words as letters")]


@hookimpl
def register_methods() -> list[Method]:
    return [Method("toy", "toy", "one small network for both roles", open_checkpoint, ToyRecipe)]
