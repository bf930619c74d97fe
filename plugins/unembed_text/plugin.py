"""What the text plugin offers. Heavy imports wait for the factories."""

from functools import partial
from pathlib import Path

from unembed.registry.hooks import hookimpl
from unembed.registry.lazy import lazy
from unembed.registry.specs import CommandSpec, EmbedderSpec, InverterSpec, Method, Modality
from unembed.registry.weights import find_weights
from unembed_text.methods.vec2text.fetching import pair_folder
from unembed_text.methods.vec2text.published import PAIRS

WEIGHTS = Path(__file__).parent / "weights"
GTR = "sentence-transformers/gtr-t5-base"
LIBRARIES = {"sacrebleu", "sentence_transformers", "tokenizers", "transformers"}

_lazy = partial(lazy, missing="texts need an extra: pip install 'unembed[text]'", libraries=LIBRARIES)
_api = partial(
    lazy,
    missing="embedding APIs need an extra: pip install 'unembed[api]'",
    libraries={"lmdb", "openai", "pyrate_limiter"},
)


@hookimpl
def register_inverters() -> list[InverterSpec]:
    summary = "texts of up to 32 tokens from all-MiniLM-L6-v2 vectors (384 wide)"
    return [
        InverterSpec("minilm", summary, None, partial(find_weights, "minilm", WEIGHTS), "minilm", 384),
        *(
            InverterSpec(pair.name, pair.summary, None, partial(pair_folder, pair), pair.embedder, pair.dimension)
            for pair in PAIRS
        ),
    ]


@hookimpl
def register_embedders() -> list[EmbedderSpec]:
    minilm, local = (_lazy(f"unembed_text.embedders.names:{name}") for name in ("minilm", "local_embedder"))
    onnx = lazy(
        "unembed_text.embedders.names:local_embedder",
        missing="ONNX graphs need an extra: pip install 'unembed[onnx]'",
        libraries=LIBRARIES | {"onnxruntime"},
    )
    service, server = (_api(f"unembed_text.embedders.api.addresses:{name}_service") for name in ("named", "url"))
    gtr = partial(local, "hf", name="gtr-base", source=GTR, fixed={"pooling": "mean"})
    gtr_st = partial(local, "st", name="gtr-base-st", source=GTR)
    return [
        EmbedderSpec("minilm", "all-MiniLM-L6-v2, from an installed package or the hub", minilm),
        EmbedderSpec("st", "any sentence-transformers model: st:FOLDER or st:HUB_ID", partial(local, "st")),
        EmbedderSpec("hf", "any transformers encoder: hf:FOLDER?pooling=mean", partial(local, "hf")),
        EmbedderSpec("onnx", "an ONNX graph and its tokenizer: onnx:FOLDER?pooling=mean", partial(onnx, "onnx")),
        EmbedderSpec(
            "openai", "OpenAI's API: openai:text-embedding-3-small?dimensions=256", partial(service, "openai")
        ),
        EmbedderSpec("cohere", "Cohere's API: cohere:embed-v4.0", partial(service, "cohere")),
        EmbedderSpec("voyage", "Voyage AI's API: voyage:voyage-3.5", partial(service, "voyage")),
        EmbedderSpec("gemini", "Google's API: gemini:gemini-embedding-001", partial(service, "gemini")),
        EmbedderSpec("ollama", "an Ollama server on this machine: ollama:MODEL", partial(service, "ollama")),
        EmbedderSpec("http", "an OpenAI-compatible server: http://HOST:PORT/v1#MODEL", partial(server, "http")),
        EmbedderSpec("https", "the same, encrypted: https://HOST/v1#MODEL", partial(server, "https")),
        EmbedderSpec("gtr-base", "GTR-base as vec2text embeds: states averaged, not normalised", gtr),
        EmbedderSpec("gtr-base-st", "GTR-base as sentence-transformers embeds: dense layer, normalised", gtr_st),
    ]


@hookimpl
def register_modalities() -> list[Modality]:
    return [Modality("text", "texts, a passage each", method="closed")]


@hookimpl
def register_methods() -> list[Method]:
    adapted, closed, vec2text = (f"unembed_text.methods.{name}" for name in ("adapted", "closed", "vec2text"))
    return [
        Method(
            "closed",
            "text",
            "one network over the embedder's own token ids, trained on its own hypotheses",
            _lazy(f"{closed}.checkpoint:open_checkpoint"),
            _lazy(f"{closed}.recipe:TextRecipe"),
        ),
        Method(
            "vec2text",
            "text",
            "a pair of T5s over T5's token ids, for any text embedder (Morris et al. 2023)",
            _lazy(f"{vec2text}.checkpoint:open_checkpoint"),
            _lazy(f"{vec2text}.recipe:PairRecipe"),
            depth=1,
        ),
        Method(
            "adapted",
            "text",
            "a trained inverter aimed at another embedder through a map fitted to pairs",
            _lazy(f"{adapted}.checkpoint:open_checkpoint"),
            adapt=_lazy(f"{adapted}.adapting:adapt"),
        ),
    ]


@hookimpl
def register_commands() -> list[CommandSpec]:
    command = _lazy("unembed_text.methods.vec2text.command:import_vec2text").get
    return [CommandSpec("import-vec2text", "Turn a published vec2text pair into a checkpoint.", command)]
