"""Training a pair for any text embedder, from a pretrained T5: the recipe of Morris et al. 2023, section 4.

The guess learns from targets alone, the correction from its greedy guesses. Where the paper makes all guesses once, the
trainer makes them as it goes, for texts on which no step has been taken yet.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import Field
from torch import Tensor

from unembed.config import parse
from unembed.inversion.inverter import Inverter
from unembed.sources.passages import read_passages
from unembed.training.recipe import Recipe
from unembed_text.codecs.t5 import T5Codec
from unembed_text.decoder.sampling import sample
from unembed_text.embedders.given import text_embedder
from unembed_text.methods.vec2text.checkpoint import build_inverter, build_pair, save_pair
from unembed_text.methods.vec2text.network import PairNetwork
from unembed_text.sources.foreign_tokenizers import read_tokenizer
from unembed_text.sources.t5 import first_layers, hub_id, read_t5
from unembed_text.sources.windows import TextsConfig, read_windows

__all__ = ["PairRecipe", "PairRecipeConfig"]


class PairRecipeConfig(TextsConfig):
    """The `[recipe]` table of a config with `method = "vec2text"`."""

    start: str = Field(description="a T5, T5 v1.1 or flan-T5: folder or hub id")
    tokenizer: str | None = Field(None, description="folder or hub id, where `start` has none beside it")
    tokens: int = Field(32, ge=2, le=512, description="tokens of the longest text, its end among them")
    positions: int = Field(16, ge=1, le=4_096, description="encoder positions made from an embedding")
    hidden: int | None = Field(
        None, ge=1, le=65_536, description="width of the projections; that of the embedding if unset"
    )


class PairRecipe(Recipe):
    """See `Recipe`; built from a config's `[recipe]` table."""

    network: PairNetwork

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = config = parse(PairRecipeConfig, dict(options), "[recipe]")
        torch.manual_seed(config.seed)
        self.texts = text_embedder(config.embedder, torch.device(config.device))
        self.tokenizer = read_tokenizer(config.tokenizer or hub_id(config.start))
        self.tokenizer.backend_tokenizer.no_truncation()  # some are saved with one
        t5, weights, _ = read_t5(config.start)
        t5, weights = first_layers(t5, weights, config.layers)
        self.windows = read_windows(config, self.tokenizer, longest=config.tokens - 1)
        tied = bool(t5.get("tie_word_embeddings", True))
        if tied:
            del weights["decoder.lm_head.weight"]
        half = {
            "t5": {**t5, "dropout_rate": config.dropout},
            "positions": config.positions,
            "hidden": config.hidden or self.texts.dimension,
            "tied": tied,
        }
        pad, end = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        self.config = {
            "dimension": self.texts.dimension,
            "tokens": config.tokens,
            "special": {"pad": pad, "start": pad, "end": end},
            "guess": half,
            "correction": half,
        }
        self.network = build_pair(self.config)
        both = {f"{part}.{key}": value for part in ("guess", "correction") for key, value in weights.items()}
        _, unexpected = self.network.load_state_dict(both, strict=False)
        if unexpected:
            raise RuntimeError(f"tensors that the network doesn't have: {unexpected[:3]}")
        self.network.to(config.device)
        self.embedder = self.inverter().embedder
        halves = (self.network.guess.encoder, self.network.guess.decoder)
        self.parameters = sum(parameter.numel() for part in halves for parameter in part.parameters())

    def batches(self, count: int, generator: torch.Generator) -> list[Tensor]:
        return self.windows.batches(count, generator)

    def propose(
        self,
        target: Tensor,
        hypothesis: Tensor | None,
        embedding: Tensor | None,
        signals: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        if hypothesis is not None:
            raise ValueError("the recipe corrects first guesses only: set depth = 1")
        network = self.network.guess
        self.network.eval()
        states, mask = network.encode(target, None, None)
        greedy = torch.zeros(len(target), device=target.device)
        ids = sample(network.decoder, states, mask, length=signals.shape[1], temperature=greedy, generator=generator)
        self.network.train()
        return ids

    def compile(self) -> None:
        self.network.guess.compile_layers()
        self.network.correction.compile_layers()

    def inverter(self) -> Inverter:
        return build_inverter(self.options.name, self.network, self.tokenizer, self.texts, self.options.tokens)

    def held_out(self) -> list[tuple[str, list[Any]]]:
        codec = cast(T5Codec, self.inverter().codec)
        passages = [text for path in self.options.validation for text in read_passages(path)]
        longest = min(self.options.tokens - 1, codec.width)
        lengths = sorted({length for length in (8, 16, longest) if length <= longest})
        return [
            (f"{length}", codec.decode(codec.first(passages, length)[: self.options.held_out])) for length in lengths
        ]

    def save(self, folder: Path, training: dict[str, Any]) -> None:
        save_pair(
            folder,
            self.network,
            self.tokenizer,
            self.texts,
            config=self.config,
            name=self.options.name,
            embedder_name=self.options.embedder,
            training=training,
            storage=self.options.storage,
        )

    def flops(self, signals: Tensor, corrected: bool) -> Tensor:
        # Each half of a T5 has about half of its parameters; a hypothesis is about as long as its text.
        tokens = (signals != self.tokenizer.pad_token_id).sum()
        read = len(signals) * self.options.positions * (3 if corrected else 1) + (tokens if corrected else 0)
        operations: Tensor = 3.0 * (read + tokens + len(signals)) * self.parameters
        return operations
