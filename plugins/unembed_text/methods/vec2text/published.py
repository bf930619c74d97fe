"""Names in public use: vec2text's words for embedders, and published pairs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unembed.errors import InputError

__all__ = ["PAIRS", "Pair", "embedder_name", "is_embedder_name"]

# vec2text's embedder → our kind of embedder, its hub id, its options. vec2text takes a pooler's output where a
# model has one and averages the states where it has none.
EMBEDDERS = {
    "gtr_base": ("gtr-base", "sentence-transformers/gtr-t5-base", ""),
    "gtr_large": ("hf", "sentence-transformers/gtr-t5-large", "pooling=mean"),
    "gtr_base_st": ("gtr-base-st", "sentence-transformers/gtr-t5-base", ""),
    "gte_base": ("hf", "thenlper/gte-base", "pooling=pooler"),
    "gte_base_st": ("st", "thenlper/gte-base", ""),
    "contriever": ("hf", "facebook/contriever", "pooling=pooler"),
    "bert": ("hf", "bert-base-uncased", "pooling=pooler"),
    "dpr_st": ("st", "sentence-transformers/facebook-dpr-question_encoder-multiset-base", ""),
    "ance_tele": ("hf", "OpenMatch/ance-tele_nq_psg-encoder", "pooling=pooler"),
    "paraphrase-distilroberta": ("hf", "sentence-transformers/paraphrase-distilroberta-base-v1", "pooling=pooler"),
    "medicalai/ClinicalBERT": ("hf", "medicalai/ClinicalBERT", "pooling=mean"),
}


@dataclass(frozen=True)
class Pair:
    """A published pair: the name it goes by here, its embedder's and its vectors' width, and its two hub ids."""

    name: str
    summary: str
    embedder: str
    dimension: int
    inversion: str
    corrector: str


PAIRS = (
    Pair("gtr-base", "texts of up to 32 tokens from GTR-base vectors as vec2text makes them (768 wide)",
         "gtr-base", 768, "jxm/gtr__nq__32", "jxm/gtr__nq__32__correct"),
    Pair("gtr-base-st", "texts of up to 32 tokens from GTR-base vectors of sentence-transformers (768 wide)",
         "gtr-base-st", 768,
         "ielabgroup/vec2text_gtr-base-st_inversion", "ielabgroup/vec2text_gtr-base-st_corrector"),
    Pair("text-embedding-ada-002", "texts of up to 128 tokens from OpenAI ada-002 vectors (1536 wide)",
         "openai:text-embedding-ada-002", 1536,
         "jxm/vec2text__openai_ada002__msmarco__msl128__hypothesizer",
         "jxm/vec2text__openai_ada002__msmarco__msl128__corrector"),
)  # fmt: skip


def is_embedder_name(text: str) -> bool:
    """Whether this is the name of an embedder, `kind` or `kind:argument`, and no folder or hub id."""
    from unembed.registry.discovery import plugins

    kinds = {spec.name for plugin in plugins() for spec in plugin.embedders}
    return text.partition(":")[0] in kinds


def embedder_name(config: Mapping[str, Any], given: str | None, *, tokens: int, origin: str) -> str:
    """The embedder that a published config names, with `given` (a folder or hub id) for its source.

    Raises InputError for one that we don't know, unless `given` is an embedder's name itself.
    """
    if given is not None and not Path(given).expanduser().is_dir() and is_embedder_name(given):
        return given
    api = config.get("embedder_model_api")
    if api and given is None:
        return f"openai:{api}"
    named = str(config.get("embedder_model_name"))
    if named not in EMBEDDERS:
        raise InputError(
            f"{origin} names the embedder {api or named!r}; name it as unembed does with --embedder (st:…, "
            f"hf:…?pooling=…, openai:…); known here: {', '.join(EMBEDDERS)}"
        )
    kind, source, options = EMBEDDERS[named]
    source = source if given is None else str(Path(given).expanduser().resolve()) if Path(given).is_dir() else given
    return f"{kind}:{source}?" + "&".join(filter(None, [options, f"max_tokens={tokens}"]))
