"""Weights under other names, and as inference stores them."""

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from unembed_text.decoder.blocks import relative_buckets
from unembed_text.decoder.convert import migrate_names, rename_t5, share_encoder, store_weights
from unembed_text.decoder.decoder import Special
from unembed_text.methods.closed.network import InversionNetwork

T5 = {"vocab_size": 60, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
SPECIAL = Special(pad=0, start=1, end=2)


def network(**shape) -> InversionNetwork:
    return InversionNetwork(T5 | shape, dimension=12, positions=3, hidden=16, special=SPECIAL, surrogate=1)


@pytest.mark.parametrize("kind", ["relu", "gated-gelu"])
def test_every_tensor_of_a_t5_finds_its_place_once(kind) -> None:
    theirs = T5ForConditionalGeneration(T5Config(**T5, feed_forward_proj=kind)).state_dict()
    unused = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight": torch.zeros(32, 4)}
    found = rename_t5(theirs | unused)
    ours = network(feed_forward_proj=kind).state_dict()
    wanted = {name: x for name, x in ours.items() if name.split(".")[0] in ("encoder", "decoder")}
    assert {name: x.shape for name, x in found.items()} == {name: x.shape for name, x in wanted.items()}
    assert rename_t5({"decoder.block.0.layer.7.strange.weight": 0, "other": 1}).keys() == {
        "decoder.block.0.layer.7.strange.weight",
        "other",
    }


def test_names_of_before_become_today_s_and_those_stay() -> None:
    before = {
        "t5.shared.weight": "decoder.token_embed.weight",
        "t5.lm_head.weight": "decoder.lm_head.weight",
        "t5.encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": "encoder.position_bias.weight",
        "t5.encoder.block.1.layer.0.SelfAttention.o.weight": "encoder.blocks.1.attention.out_proj.weight",
        "t5.encoder.block.10.layer.1.DenseReluDense.wi_0.weight": "encoder.blocks.10.mlp.gate_proj.weight",
        "t5.encoder.block.10.layer.1.DenseReluDense.wi_1.weight": "encoder.blocks.10.mlp.fc1.weight",
        "t5.decoder.block.0.layer.1.EncDecAttention.k.weight": "decoder.blocks.0.cross_attention.k_proj.weight",
        "t5.decoder.block.0.layer.2.layer_norm.weight": "decoder.blocks.0.mlp.norm.weight",
        "t5.decoder.final_layer_norm.weight": "decoder.norm.weight",
        "student.block.0.layer.0.SelfAttention.q.weight": "surrogate.blocks.0.attention.q_proj.weight",
        "student.block.0.layer.0.SelfAttention.relative_attention_bias.weight": "surrogate.position_bias.weight",
        "student.final_layer_norm.weight": "surrogate.norm.weight",
        "student.say.bias": "surrogate.head.bias",
        "target.enter.weight": "target.fc1.weight",
        "difference.leave.bias": "difference.fc2.bias",
        "layernorm.weight": "layernorm.weight",
    }
    tensors = {name: torch.tensor(index) for index, name in enumerate(before)}
    wanted = {after: tensors[name] for name, after in before.items()}
    assert migrate_names(tensors) == wanted == migrate_names(wanted)
    both = {f"{half}.{name}": x for half in ("guess", "correction") for name, x in tensors.items()}
    assert migrate_names(both) == {
        f"{half}.{name}": x for half in ("guess", "correction") for name, x in wanted.items()
    }
    assert migrate_names({"guess.t5.decoder.embed_tokens.weight": torch.zeros(1)}) == {}


@pytest.mark.parametrize("causal", [False, True])
def test_position_biases_fall_into_t5_s_buckets(causal) -> None:
    peer = T5ForConditionalGeneration(T5Config(**T5))
    stack = peer.decoder if causal else peer.encoder
    own = stack.block[0].layer[0].SelfAttention
    place = torch.arange(300)
    offset = place - place[:, None]
    wanted = own._relative_position_bucket(offset, bidirectional=not causal, num_buckets=32, max_distance=128)
    assert torch.equal(relative_buckets(offset, causal=causal, count=32, distance=128), wanted)
    made = network()
    half = made.decoder if causal else made.encoder
    half.position_bias.weight.data = own.relative_attention_bias.weight.data
    assert torch.equal(half.position_bias(40), own.compute_bias(40, 40))


def test_random_weights_are_spread_as_t5_s() -> None:
    torch.manual_seed(0)
    shape = {"d_model": 96, "d_ff": 200, "num_layers": 1, "feed_forward_proj": "gated-gelu", "initializer_factor": 0.7}
    theirs = rename_t5(T5ForConditionalGeneration(T5Config(**T5 | shape)).state_dict())
    for name, tensor in network(**shape).state_dict().items():
        if name in theirs and name != "decoder.lm_head.weight":  # which version 1.1 has no default for
            spread = [x.std() if x.ndim > 1 else x.mean() for x in (tensor, theirs[name])]
            assert torch.isclose(*spread, rtol=5 / tensor.numel() ** 0.5), name


def test_a_shared_encoder_reads_its_model_s_own_parameters() -> None:
    model = T5ForConditionalGeneration(T5Config(**T5)).eval()
    encoder = share_encoder(model)
    named = dict(model.named_parameters())
    assert encoder.blocks[1].mlp.fc2.weight is named["encoder.block.1.layer.1.DenseReluDense.wo.weight"]
    ids = torch.randint(3, 60, (4, 7))
    mask = torch.ones_like(ids)
    mask[0, 4:] = 0
    with torch.no_grad():
        found = encoder(model.shared(ids), torch.where(mask.bool(), 0.0, -1e9)[:, None, None])
        wanted = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.allclose(found[mask.bool()], wanted[mask.bool()], atol=1e-5) and not encoder.training


@pytest.fixture
def half_is_fast(monkeypatch):
    """A CPU that multiplies bfloat16 itself, and may."""
    monkeypatch.setattr("unembed_text.decoder.convert.bfloat16_is_fast", lambda device: True)
    matmul = torch.backends.mkldnn.matmul
    before, matmul.fp32_precision = matmul.fp32_precision, "bf16"
    yield
    matmul.fp32_precision = before


def test_scales_are_folded_before_weights_are_rounded(half_is_fast) -> None:
    made = network()
    own = made.encoder.blocks[0].attention
    own.norm.weight.data.uniform_(0.5, 2)
    parts = [part.weight.data * own.norm.weight.data for part in (own.q_proj, own.k_proj, own.v_proj)]
    store_weights(made, torch.device("cpu"))
    (whole,) = own.weights().qkv
    assert torch.equal(whole, torch.cat(parts).bfloat16()) and own.weights().norm is None
    assert made.encoder.position_bias.weight.dtype == torch.float32
    assert made.surrogate.blocks[0].attention.qkv_proj.dtype == torch.bfloat16
