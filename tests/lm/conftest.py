"""A tiny language model with random weights, a T5 to start from, prompts."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

import unembed

SHARED = Path(__file__).parents[3] / "shared"
VERBS, THINGS = ["write", "explain", "sort", "draw", "sing"], ["a poem", "rain", "the sea", "two lists", "an old song"]
PROMPTS = [f"{verb} {thing}{end}" for verb in VERBS for thing in THINGS for end in ("", " please", " in Python")]
TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


@pytest.fixture(autouse=True)
def one_thread():
    """For networks so small that a second thread only waits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def reference() -> Path:
    """The shared data; a test that asks for it carries the marker `reference`."""
    if not (SHARED / "data" / "prompts").is_dir():
        pytest.skip(f"needs the reference data, which isn't at {SHARED.name}/data")
    return SHARED


def bpe(template: str | None) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=["<|start|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(PROMPTS * 3, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")
    fast.chat_template = template
    return fast


@pytest.fixture(scope="session")
def publish_model(tmp_path_factory):
    """Save a tiny causal model as transformers does: `publish_model(template=…)` → its folder."""

    def write(template: str | None = TEMPLATE) -> Path:
        folder = tmp_path_factory.mktemp("model")
        tokenizer = bpe(template)
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            initializer_range=0.25,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            pad_token_id=tokenizer.pad_token_id,
        )
        LlamaForCausalLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return write


@pytest.fixture(scope="session")
def model(publish_model) -> Path:
    return publish_model()


@pytest.fixture
def embedder(model):
    return unembed.load_embedder(f"lm:{model}?steps=4&width=16", device="cpu")


@pytest.fixture(scope="session")
def t5(tmp_path_factory) -> Path:
    """A T5 v1.1 with random weights and pieces of its own."""
    folder = tmp_path_factory.mktemp("t5")
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(PROMPTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(fast), d_model=48, d_kv=12, d_ff=64, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
    )
    model = T5ForConditionalGeneration(config)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(torch.randn(len(fast), 48) * 0.1)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def table(model, t5, tmp_path_factory) -> dict:
    """A `[recipe]` table of a small training."""
    path = tmp_path_factory.mktemp("data") / "prompts.txt"
    path.write_text("\n".join(PROMPTS))
    return {
        "name": "small",
        "embedder": f"lm:{model}?steps=4&width=16",
        "start": str(t5),
        "train": [str(path)],
        "validation": [str(path)],
        "longest": 12,
        "batch_tokens": 1024,
        "hidden": 32,
        "held_out": 8,
        "storage": "float32",
        "dropout": 0.0,
    }
