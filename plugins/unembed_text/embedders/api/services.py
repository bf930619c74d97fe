"""The services that speak the OpenAI embeddings protocol, and what is known of their models.

Limits and prices (US dollars a million tokens) are those that the services published in 2025; `?price=` and the other
options of a name override them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["LOCAL", "OLLAMA", "SERVICES", "Model", "Service", "TooManyTextsError", "estimate"]


class TooManyTextsError(Exception):
    """The service takes fewer texts at once."""


@dataclass(frozen=True)
class Model:
    """The width of a model's vectors, its price if it has one, and whether it can be asked for fewer `dimensions`."""

    dimension: int
    price: float | None = None
    shortens: bool = True


@dataclass(frozen=True)
class Service:
    """Where a service is, which environment variable has its key, and the most that one request may hold."""

    url: str
    key: str | None
    batch: int = 128
    request_tokens: int = 100_000
    dimensions: str = "dimensions"  # what the request calls the width
    models: Mapping[str, Model] = field(default_factory=dict)


SERVICES: Mapping[str, Service] = {
    "openai": Service(
        "https://api.openai.com/v1",
        "OPENAI_API_KEY",
        batch=2048,
        request_tokens=300_000,
        models={
            "text-embedding-3-small": Model(1536, 0.02),
            "text-embedding-3-large": Model(3072, 0.13),
            "text-embedding-ada-002": Model(1536, 0.10, shortens=False),
        },
    ),
    "cohere": Service(
        "https://api.cohere.ai/compatibility/v1",
        "COHERE_API_KEY",
        batch=96,
        models={
            "embed-v4.0": Model(1536, 0.12),
            "embed-english-v3.0": Model(1024, 0.10, shortens=False),
            "embed-multilingual-v3.0": Model(1024, 0.10, shortens=False),
        },
    ),
    "voyage": Service(
        "https://api.voyageai.com/v1",
        "VOYAGE_API_KEY",
        batch=1000,
        dimensions="output_dimension",
        models={
            "voyage-3-large": Model(1024, 0.18),
            "voyage-3.5": Model(1024, 0.06),
            "voyage-3.5-lite": Model(1024, 0.02),
        },
    ),
    "gemini": Service(
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "GEMINI_API_KEY",
        batch=100,
        request_tokens=20_000,
        models={"gemini-embedding-001": Model(3072, 0.15)},
    ),
}
# A server of one's own may want no key; where it does, the variable has it.
LOCAL = Service("", "UNEMBED_API_KEY", batch=32)
OLLAMA = Service(
    "http://localhost:11434/v1",
    None,
    batch=32,
    models={
        "all-minilm": Model(384),
        "bge-m3": Model(1024),
        "embeddinggemma": Model(768),
        "mxbai-embed-large": Model(1024),
        "nomic-embed-text": Model(768),
    },
)


def estimate(text: str) -> int:
    """About how many tokens a text has: services tell only afterwards. Three bytes each, which errs upwards."""
    return len(text.encode()) // 3 + 1
