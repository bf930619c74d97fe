"""Training a network for prompts: whole prompts, answers observed for some steps, sampled hypotheses."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from unembed.checkpoints.manifest import Storage, network_config
from unembed.checkpoints.tensors import load_checkpoint
from unembed.config import Config, parse
from unembed.errors import ConfigError, InputError
from unembed.inversion.inverter import Inverter
from unembed.registry.opening import load_embedder
from unembed.sources.passages import read_passages
from unembed.training.recipe import Recipe
from unembed_lm.codec import plain_ids
from unembed_lm.embedders.base import PromptEmbedder
from unembed_lm.embedders.local import LocalModel
from unembed_lm.layout import ABSENT, joined
from unembed_lm.methods.logprobs.checkpoint import build_inverter, build_network, check_model, save_network
from unembed_lm.methods.logprobs.network import PromptNetwork
from unembed_lm.methods.logprobs.shape import PromptShape
from unembed_lm.methods.logprobs.vocabulary import frequent, transferred
from unembed_lm.prompts.batches import PromptBatches, read_prompts
from unembed_text.toolkit import corrupt, first_layers, read_t5, sample

__all__ = ["PromptRecipe", "PromptRecipeConfig"]

AT_ONCE = 16_384  # hypotheses written in one go: enough to keep a GPU busy
FITTED = {"cpu": 128, "cuda": 4_096}  # prompts whose steps the whitening is learned from


class PromptRecipeConfig(Config):
    """The `[recipe]` table of a config with `method = "logprobs"`."""

    name: str = Field(min_length=1)
    embedder: str = Field(min_length=1, description="the language model: smollm2, lm:FOLDER or lm:HUB_ID")
    start: str = Field(description="a T5 (folder or hub id), or a checkpoint of this method to go on from")
    train: list[Path] = Field(min_length=1, description="files of prompts: .txt or .parquet with a column text")
    validation: list[Path] = Field(min_length=1)
    apart: list[Path] = Field(
        [], description="files of test prompts: what shares a run of eight words with one of them isn't trained on"
    )
    portions: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        {}, description="shares of the batches of files, by their names without ending, that have one of their own"
    )
    longest: int = Field(32, ge=1, le=8_192, description="tokens of the longest prompt; longer ones are left out")
    batch_tokens: int = Field(8_192, gt=0, le=10_000_000)
    fewer: float = Field(
        0.5, ge=0, le=1, description="share of targets of which fewer steps are observed than the embedder gives"
    )
    near: float = Field(0.15, ge=0, lt=1, description="share of first hypotheses made from the prompt itself")
    dropout: float = Field(0.1, ge=0, lt=1)
    layers: int | None = Field(None, ge=1, le=1_000, description="keep only so many layers of each half of the T5")
    vocabulary: int | None = Field(
        None, ge=300, le=2**24, description="write only so many of the model's tokens, the most frequent of train"
    )
    tied: bool = Field(True, description="one matrix for the tokens read and written")
    first: int = Field(4, ge=1, le=4_096, description="encoder positions of the first step")
    positions: int = Field(1, ge=1, le=4_096, description="encoder positions of each later step")
    hidden: int = Field(512, ge=1, le=65_536, description="width of the projections of a step")
    held_out: int = Field(128, ge=1, le=1_000_000, description="validation prompts")
    storage: Storage = "float16"
    device: str
    seed: int


class PromptRecipe(Recipe):
    """See `Recipe`; built from a config's `[recipe]` table."""

    reads_all = True

    network: PromptNetwork
    embedder: PromptEmbedder

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = config = parse(PromptRecipeConfig, dict(options), "[recipe]")
        torch.manual_seed(config.seed)
        embedder = load_embedder(config.embedder, device=config.device)
        if not isinstance(embedder, PromptEmbedder):
            raise ConfigError(f"[recipe] embedder: {config.embedder!r} is no language model; name smollm2 or lm:FOLDER")
        if config.longest > embedder.codec.width:
            raise ConfigError(f"[recipe] longest: {config.embedder!r} takes prompts of {embedder.codec.width} tokens")
        self.embedder = embedder
        # Hypotheses are much further off than half precision moves an embedding.
        half = isinstance(embedder, LocalModel) and embedder.device.type == "cuda"
        self.quick = embedder.halved() if half and isinstance(embedder, LocalModel) else embedder
        for path in config.validation:  # read later, and missed too late
            if not path.exists():
                raise InputError(f"no file {path}, which [recipe] validation names")
        files = read_prompts(config.train, embedder.tokenizer, longest=config.longest, apart=config.apart)
        self.prompts = PromptBatches(
            files, steps=embedder.layout.steps, batch_tokens=config.batch_tokens, portions=config.portions
        )
        if (Path(config.start) / "manifest.json").is_file():
            self._go_on(Path(config.start))
        else:
            self._begin([ids for _, rows in files for ids in rows])
        self.network.to(config.device)
        if not (Path(config.start) / "manifest.json").is_file():
            self._fit_whitening()
        network = self.network
        self.counts = {"encoder": _count(network.encoder.blocks), "decoder": _count(network.decoder.blocks)}

    def _begin(self, rows: list[list[int]]) -> None:
        options, embedder = self.options, self.embedder
        t5, weights, pieces = read_t5(options.start)
        t5, weights = first_layers(t5, weights, options.layers)
        size = len(embedder.tokenizer)
        kept = frequent(embedder.tokenizer, rows, size, options.vocabulary)
        names = "decoder.token_embed.weight", "decoder.lm_head.weight"
        inputs, outputs = (weights.pop(name) for name in names)
        tokens = embedder.tokenizer.convert_ids_to_tokens(kept.tolist())
        embed, head = transferred(tokens, pieces, inputs, outputs, tied=options.tied)
        t5 = {**t5, "vocab_size": len(embed), "dropout_rate": options.dropout}
        self.config: dict[str, Any] = {
            "t5": t5,
            "tied": options.tied,
            "tokens": list(embedder.tokens),
            "rank": max(1, len(embedder.tokens) - 100) if len(embedder.tokens) > 200 else len(embedder.tokens),
            "steps": embedder.layout.steps,
            "first": options.first,
            "positions": options.positions,
            "hidden": options.hidden,
            "vocabulary": size,
            "length": options.longest,
        }
        self.network = build_network(self.config)
        weights |= {names[0]: embed} | ({} if options.tied else {names[1]: head})
        if options.tied and not t5.get("tie_word_embeddings", True):
            # The T5 wrote by another matrix: logits begin at a size of 1, not at that of what they don't mean here.
            norm = weights["decoder.norm.weight"]
            weights["decoder.norm.weight"] = norm / (_size(norm) * _size(inputs))
        _, unexpected = self.network.load_state_dict(weights, strict=False)
        if unexpected:
            raise RuntimeError(f"tensors that the network doesn't have: {unexpected[:3]}")
        self.network.decoder.tie()
        self.network.ids.keep(kept)

    def _go_on(self, folder: Path) -> None:
        """Start from a checkpoint; raises ConfigError for what the table asks of it in vain."""
        options = self.options
        manifest, weights = load_checkpoint(folder)
        shape = network_config(PromptShape, manifest, folder)
        check_model(self.embedder, shape, folder)
        if shape.steps != self.embedder.layout.steps:
            raise ConfigError(
                f"[recipe] start: {folder} was trained on {shape.steps} steps; name an embedder of as many"
            )
        fixed = {"first": shape.first, "positions": shape.positions, "hidden": shape.hidden, "tied": shape.tied}
        for key, has in (fixed | {"layers": shape.t5.num_layers}).items():
            if key in options.model_fields_set and getattr(options, key) not in (None, has):
                raise ConfigError(f"[recipe] {key}: {folder}, where it starts, has {has}; leave {key} out")
        t5 = {**manifest.config["t5"], "dropout_rate": options.dropout}
        self.config = {**manifest.config, "t5": t5, "length": max(options.longest, shape.length)}
        self.network = build_network(self.config)
        self.network.load_state_dict(weights, strict=False)
        self.network.decoder.tie()
        self.network.ids.index()

    def _fit_whitening(self) -> None:
        draw, found, count = torch.Generator().manual_seed(self.options.seed), [], 0
        most = FITTED.get(self.embedder.device.type, 128)
        while count < most:
            for signals in self.batches(4, draw):
                ratios, answer = self.network.layout.unpack(self.embed(signals.to(self.embedder.device)))
                found.append(ratios[answer != ABSENT])
                count += len(signals)
        self.network.whitening.fit(torch.cat(found))

    def batches(self, count: int, generator: torch.Generator) -> list[Tensor]:
        return self.prompts.batches(count, generator)

    def observe(self, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        layout, device = self.embedder.layout, target.device
        draws = torch.rand(2, len(target), device=device, generator=generator)
        seen = 1 + (draws[0] * layout.steps).long()
        seen = seen.masked_fill(draws[1] >= self.options.fewer, layout.steps)
        hidden = torch.arange(layout.steps, device=device) >= seen[:, None]
        return target.masked_fill(hidden.repeat_interleave(layout.tokens + 1, 1), 0.0), None

    def propose(
        self,
        target: Tensor,
        hypothesis: Tensor | None,
        embedding: Tensor | None,
        signals: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        given = (target, signals, hypothesis, embedding)
        parts = zip(
            *([None] * -(-len(target) // AT_ONCE) if x is None else x.split(AT_ONCE) for x in given), strict=True
        )
        self.network.eval()
        made = [self._propose(*part, generator=generator) for part in parts]
        self.network.train()
        return torch.cat(made)

    @torch.no_grad()
    def _propose(
        self,
        target: Tensor,
        signals: Tensor,
        hypothesis: Tensor | None,
        embedding: Tensor | None,
        *,
        generator: torch.Generator,
    ) -> Tensor:
        network = self.network
        # A third greedy, the rest up to temperature 1: what a beam holds, and what unseen prompts look like.
        draws = torch.rand(len(target), device=target.device, generator=generator)
        temperature = draws.mul_(1.5).sub_(0.5).clamp_min_(0)
        read = None if hypothesis is None else network.read(hypothesis)
        states, mask = network.encode(target, read, embedding)
        near = round(self.options.near * len(target)) if hypothesis is None else 0
        far = slice(near, None)
        prompts = network.read(signals)
        length, decoder = prompts.shape[1], network.decoder
        ids = sample(
            decoder, states[far], mask[far], length=length, temperature=temperature[far].clone(), generator=generator
        )
        if near:
            own = (x[:near] for x in (states, mask, prompts, temperature))
            ids = torch.cat([corrupt(decoder, *own, generator=generator), ids])
        made = network.ids.closed(network.ids.written(ids))
        _, answer = network.layout.unpack(target)
        return joined(made, answer if self.embedder.forces else torch.full_like(answer, ABSENT))

    def embed(self, signals: Tensor) -> Tensor:
        return self.quick.embed(signals)

    def compile(self) -> None:
        self.network.compile_layers()
        if isinstance(self.quick, LocalModel):
            self.quick.compile_layers()

    def inverter(self) -> Inverter:
        return build_inverter(self.options.name, self.network, self.embedder, self.config["length"])

    def held_out(self) -> list[tuple[str, list[Any]]]:
        options, lists = self.options, []
        for path in options.validation:
            texts = read_passages(path)[: 4 * options.held_out]
            rows = plain_ids(self.embedder.tokenizer, texts)
            short = [text for text, ids in zip(texts, rows, strict=True) if 1 <= len(ids) <= options.longest]
            if not short:
                raise InputError(f"{path} holds no prompt of up to {options.longest} tokens")
            lists.append((path.stem, list(short[: options.held_out])))
        return lists

    def save(self, folder: Path, training: dict[str, Any]) -> None:
        options = self.options
        save_network(
            folder,
            self.network,
            self.embedder,
            name=options.name,
            embedder_name=options.embedder,
            config=self.config,
            training=training,
            storage=options.storage,
        )

    def flops(self, signals: Tensor, corrected: bool) -> Tensor:
        # A hypothesis is about as long as its prompt.
        tokens = (signals != ABSENT).sum()
        steps = self.config["first"] + (self.config["steps"] - 1) * self.config["positions"]
        read = len(signals) * steps * (3 if corrected else 1) + (tokens if corrected else 0)
        head = self.network.decoder.lm_head.weight.numel()
        operations: Tensor = 6.0 * (
            read * self.counts["encoder"] + (tokens + len(signals)) * (self.counts["decoder"] + head)
        )
        return operations


def _size(x: Tensor) -> Tensor:
    return x.square().mean().sqrt()


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
