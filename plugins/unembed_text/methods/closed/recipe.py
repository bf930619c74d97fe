"""Training a text inverter: pretrained weights, windows, sampled hypotheses."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from unembed.checkpoints.manifest import network_config
from unembed.checkpoints.tensors import load_checkpoint
from unembed.config import parse
from unembed.errors import ConfigError
from unembed.inversion.inverter import Inverter
from unembed.registry.opening import load_embedder
from unembed.sources.passages import read_passages
from unembed.training.recipe import Recipe
from unembed_text.codecs.wordpiece import TextCodec
from unembed_text.decoder.convert import migrate_names
from unembed_text.decoder.sampling import corrupt, sample
from unembed_text.embedders.local import LocalEmbedder
from unembed_text.methods.closed.checkpoint import build_inverter, build_network, save_network
from unembed_text.methods.closed.network import InversionNetwork
from unembed_text.methods.closed.roughness import erring, roughened
from unembed_text.methods.closed.vocabulary import transfer_embeddings
from unembed_text.methods.shapes import ClosedShape
from unembed_text.sources.t5 import first_layers, read_t5
from unembed_text.sources.windows import TextsConfig, read_windows

__all__ = ["TextRecipe", "TextRecipeConfig"]

# Attention for short texts; cuDNN's, torch's first choice on an H100, takes twice as long for them.
SHORT = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
POSITIONS, HIDDEN, LENGTH = 8, 1024, 40
AT_ONCE = 16_384  # hypotheses of up to SHORTEST tokens written in one go: enough to keep a GPU busy
SHORTEST = 32


class TextRecipeConfig(TextsConfig):
    """The `[recipe]` table of a text training config."""

    start: str = Field(description="a T5 (folder or hub id), or a text checkpoint to go on from")
    longest: int = Field(32, ge=1, description="tokens of the longest window, which the embedder must read")
    length: int | None = Field(
        None, ge=1, le=65_536, description="most tokens that the inverter writes: as the start says, or 40"
    )
    near: float = Field(0.0, ge=0, lt=1, description="share of first hypotheses made from the text itself")
    positions: int | None = Field(None, ge=1, le=4_096, description="encoder positions made from an embedding, or 8")
    hidden: int | None = Field(None, ge=1, le=65_536, description="width of the projections of embeddings, or 1024")
    student: int = Field(
        0, ge=0, le=1_000, description="layers of a student of the black box, by which edits are chosen"
    )
    rough: float = Field(0.0, ge=0, le=1, description="share of targets with noise, or rounded")
    errors: Path | None = Field(
        None, description="a .safetensors of errors (tensor `errors`, one a row) that rough targets have instead"
    )
    untold: float = Field(0.1, ge=0, le=1, description="share of targets, if some are rough, of which it isn't told")


class TextRecipe(Recipe):
    """See `Recipe`; built from a config's `[recipe]` table."""

    reads_all = True

    network: InversionNetwork
    embedder: LocalEmbedder

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = config = parse(TextRecipeConfig, dict(options), "[recipe]")
        torch.manual_seed(config.seed)
        embedder = load_embedder(config.embedder, device=config.device)
        if not isinstance(embedder, LocalEmbedder):
            raise ConfigError(f'{config.embedder!r} has no tokens to write here; use method = "vec2text" for it')
        self.embedder = embedder
        # Hypotheses are much further off than half precision moves a vector.
        self.quick = self.embedder.halved() if self.embedder.device.type == "cuda" else self.embedder
        tokenizer = self.embedder.tokenizer
        for key, most in (("longest", config.longest), ("tops", max(config.tops or [0]))):
            if most > self.embedder.max_tokens:
                raise ConfigError(f"[recipe] {key}: {config.embedder!r} reads {self.embedder.max_tokens} tokens")
        self.config, weights = self._start(tokenizer)
        self.errors = None if config.errors is None else _read_errors(config.errors, embedder.dimension)
        self.windows = read_windows(config, tokenizer, longest=config.longest)
        self.network = build_network(self.config)
        if config.student and not any(key.startswith("surrogate.") for key in weights):
            weights |= _as_surrogate(weights, config.student)
        _, unexpected = self.network.load_state_dict(weights, strict=False)
        if unexpected:
            raise RuntimeError(f"tensors that the network doesn't have: {unexpected[:3]}")
        self.network.to(config.device)
        network = self.network
        self.counts = {"encoder": _count(network.encoder.blocks), "decoder": _count(network.decoder.blocks)}
        self.counts["surrogate"] = 0 if network.surrogate is None else _count(network.surrogate)

    def _start(self, tokenizer: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
        options = self.options
        if (Path(options.start) / "manifest.json").is_file():
            return self._checkpoint(Path(options.start))
        t5, weights, pieces = read_t5(options.start)
        tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        names = "decoder.token_embed.weight", "decoder.lm_head.weight"
        embed, head = transfer_embeddings(tokens, pieces, *(weights.pop(name) for name in names))
        t5, weights = first_layers(t5, weights, options.layers)
        t5 = {**t5, "vocab_size": len(tokens), "dropout_rate": options.dropout}
        weights |= dict(zip(names, (embed, head), strict=True))
        special = {
            "pad": tokenizer.pad_token_id,
            "start": tokenizer.cls_token_id,
            "end": tokenizer.sep_token_id,
        }
        config = {
            "t5": t5,
            "dimension": self.embedder.dimension,
            "positions": options.positions or POSITIONS,
            "hidden": options.hidden or HIDDEN,
            "special": special,
            "length": options.length or LENGTH,
            "student": options.student,
        }
        return config, weights

    def _checkpoint(self, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Config and weights of a checkpoint; raises ConfigError for what the table asks of it in vain."""
        options = self.options
        manifest, weights = load_checkpoint(folder)
        shape = network_config(ClosedShape, manifest, folder)
        if shape.dimension != self.embedder.dimension:
            raise ConfigError(
                f"[recipe] start: {folder} reads vectors {shape.dimension} wide, and those of {options.embedder!r} are "
                f"{self.embedder.dimension} wide"
            )
        fixed = {"positions": shape.positions, "hidden": shape.hidden, "layers": shape.t5.num_layers}
        for key, has in (fixed | ({"student": shape.student} if shape.student else {})).items():
            if getattr(options, key) not in (None, 0, has):
                raise ConfigError(f"[recipe] {key}: {folder}, where it starts, has {has}; leave {key} out")
        more = {"length": options.length or shape.length, "student": options.student or shape.student}
        return {
            **manifest.config,
            "t5": {**manifest.config["t5"], "dropout_rate": options.dropout},
            **more,
        }, migrate_names(weights)

    def batches(self, count: int, generator: torch.Generator) -> list[Tensor]:
        return self.windows.batches(count, generator)

    def observe(self, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        options = self.options
        if not options.rough:
            return target, None
        how: dict[str, Any] = {"share": options.rough, "untold": options.untold, "generator": generator}
        return roughened(target, **how) if self.errors is None else erring(target, self.errors, **how)

    def propose(
        self,
        target: Tensor,
        hypothesis: Tensor | None,
        embedding: Tensor | None,
        signals: Tensor,
        generator: torch.Generator,
        noise: Tensor | None = None,
    ) -> Tensor:
        rows = max(1, AT_ONCE * SHORTEST // max(SHORTEST, signals.shape[1]))
        given = (target, signals, hypothesis, embedding, noise)
        parts = zip(*([None] * -(-len(target) // rows) if x is None else x.split(rows) for x in given), strict=True)
        self.network.eval()
        made = [self._propose(*part, generator=generator) for part in parts]
        self.network.train()
        return torch.cat(made)

    def _propose(
        self,
        target: Tensor,
        signals: Tensor,
        hypothesis: Tensor | None,
        embedding: Tensor | None,
        noise: Tensor | None,
        *,
        generator: torch.Generator,
    ) -> Tensor:
        # A third greedy, the rest up to temperature 1: what a beam holds, and what unseen texts look like.
        draws = torch.rand(len(target), device=target.device, generator=generator)
        temperature = draws.mul_(1.5).sub_(0.5).clamp_min_(0)
        states, mask = self.network.encode(target, hypothesis, embedding, noise)
        near = round(self.options.near * len(target)) if hypothesis is None else 0
        far = slice(near, None)
        length = signals.shape[1]
        decoder, warm = self.network.decoder, temperature[far].clone()
        ids = sample(decoder, states[far], mask[far], length=length, temperature=warm, generator=generator)
        if near:
            given = (x[:near] for x in (states, mask, signals, temperature))
            ids = torch.cat([corrupt(decoder, *given, generator=generator), ids])
        return ids

    def embed(self, signals: Tensor) -> Tensor:
        with sdpa_kernel(SHORT):
            return self.quick.embed(signals)

    def scalars(self) -> dict[str, float]:
        losses, self.network.surrogate_losses = self.network.surrogate_losses, []
        return {"student_loss": torch.stack(losses).mean().item()} if losses else {}

    def compile(self) -> None:
        self.network.compile_layers()
        self.quick.compile_layers()

    def inverter(self) -> Inverter:
        return build_inverter(self.options.name, self.network, self.embedder, self.config["length"])

    def held_out(self) -> list[tuple[str, list[Any]]]:
        codec = TextCodec(self.embedder.tokenizer, self.embedder.max_tokens)
        passages = [text for path in self.options.validation for text in read_passages(path)]
        lengths = [length for length in (8, 16, 32) if length <= self.windows.tops[-1]]
        return [
            (f"{length}", codec.decode(codec.first(passages, length)[: self.options.held_out])) for length in lengths
        ]

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
        # A hypothesis is about as long as its text.
        tokens = (signals != self.network.special.pad).sum()
        read = len(signals) * self.config["positions"] * (3 if corrected else 1) + (tokens if corrected else 0)
        head = self.network.decoder.lm_head.weight.numel()
        write = (tokens + len(signals)) * (self.counts["decoder"] + head)
        operations: Tensor = 6.0 * (read * self.counts["encoder"] + write + tokens * self.counts["surrogate"])
        return operations


def _read_errors(path: Path, dimension: int) -> Tensor:
    """Errors `[M, D]` of targets; raises ConfigError for a file of anything else."""
    try:
        errors = load_file(path).get("errors")
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"[recipe] errors: can't read {path}: {error}") from error
    if errors is None or errors.ndim != 2 or not len(errors) or errors.shape[1] != dimension:
        raise ConfigError(f"[recipe] errors: {path} holds no tensor `errors` of rows {dimension} wide")
    return errors.float()


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _as_surrogate(weights: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """A surrogate's blocks as those of the encoder, which read tokens too."""
    begin = ("encoder.position_bias.", *(f"encoder.blocks.{index}." for index in range(count)))
    return {f"surrogate.{key.removeprefix('encoder.')}": x for key, x in weights.items() if key.startswith(begin)}
