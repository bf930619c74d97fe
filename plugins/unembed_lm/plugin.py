"""What the plugin for prompts offers. Heavy imports wait for the factories."""

from functools import partial

from unembed.registry.hooks import hookimpl
from unembed.registry.lazy import lazy
from unembed.registry.specs import EmbedderSpec, Method, Modality

LIBRARIES = {"sacrebleu", "tokenizers", "transformers"}

_lazy = partial(lazy, missing="prompts need an extra: pip install 'unembed[lm]'", libraries=LIBRARIES)


@hookimpl
def register_embedders() -> list[EmbedderSpec]:
    names, servers = "unembed_lm.embedders.names", "unembed_lm.embedders.servers.names"
    return [
        EmbedderSpec("smollm2", "SmolLM2-135M-Instruct, 4 bits a weight, from a package", _lazy(f"{names}:smollm2")),
        EmbedderSpec(
            "lm", "any causal language model: lm:FOLDER, lm:FILE.gguf or lm:HUB_ID", _lazy(f"{names}:hub_model")
        ),
        EmbedderSpec("llamacpp", "a llama.cpp server: llamacpp:http://HOST:PORT", _lazy(f"{servers}:llamacpp")),
        EmbedderSpec(
            "completions",
            "an OpenAI-compatible server that shows log-probabilities: completions:http://HOST:PORT/v1#MODEL",
            _lazy(f"{servers}:completions"),
        ),
    ]


@hookimpl
def register_modalities() -> list[Modality]:
    return [Modality("prompt", "prompts of a language model, from its next-token probabilities", method="logprobs")]


@hookimpl
def register_methods() -> list[Method]:
    own = "unembed_lm.methods.logprobs"
    return [
        Method(
            "logprobs",
            "prompt",
            "one T5 over the log-ratios of a few steps, trained on its own hypotheses",
            _lazy(f"{own}.checkpoint:open_checkpoint"),
            _lazy(f"{own}.recipe:PromptRecipe"),
        )
    ]
