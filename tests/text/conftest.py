"""The real black box and its tokenizer, read once; a toy-sized text inverter."""

from pathlib import Path

import pytest
import torch

from unembed_text.codec import TextCodec
from unembed_text.embedders import minilm
from unembed_text.inverters import build_network, save_network

SHARED = Path(__file__).parents[3] / "shared"
SMALL = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 1,
    "num_decoder_layers": 1,
    "num_heads": 4,
    "vocab_size": 30522,
    "feed_forward_proj": "gated-gelu",
    "dropout_rate": 0.1,
}


@pytest.fixture(scope="session")
def embedder():
    return minilm()


@pytest.fixture(scope="session")
def codec(embedder):
    return TextCodec(embedder.tokenizer, embedder.max_tokens)


@pytest.fixture(scope="session")
def reference() -> Path:
    """The shared data; a test that asks for it carries the marker `reference`."""
    if not (SHARED / "data" / "text").is_dir():
        pytest.skip(f"needs the reference data, which isn't at {SHARED.name}/data")
    return SHARED


@pytest.fixture(scope="session")
def small_checkpoint(embedder, tmp_path_factory) -> Path:
    """An untrained network of toy size, saved as the training would."""
    torch.manual_seed(0)
    config = {
        "t5": SMALL,
        "dimension": 384,
        "positions": 2,
        "hidden": 16,
        "special": {"pad": 0, "start": 101, "end": 102},
        "length": 12,
    }
    folder = tmp_path_factory.mktemp("small") / "checkpoint"
    save_network(
        folder,
        build_network(config),
        embedder,
        name="small",
        embedder_name="minilm",
        config=config,
        training={},
        quality={},
    )
    return folder
