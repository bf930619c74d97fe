"""Weights from elsewhere in our blocks: the names of their tensors, and how inference stores them."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from unembed.devices import bfloat16_is_fast
from unembed_text.decoder.blocks import DecoderBlock, Encoder, EncoderBlock
from unembed_text.decoder.decoder import Decoder

__all__ = ["migrate_names", "rename_t5", "share_encoder", "store_weights"]

T = TypeVar("T", bound=Tensor)

PARTS = {
    ("encoder", "0"): "attention",
    ("encoder", "1"): "mlp",
    ("decoder", "0"): "attention",
    ("decoder", "1"): "cross_attention",
    ("decoder", "2"): "mlp",
}
MAPS = {
    "SelfAttention.q": "q_proj",
    "SelfAttention.k": "k_proj",
    "SelfAttention.v": "v_proj",
    "SelfAttention.o": "out_proj",
    "EncDecAttention.q": "q_proj",
    "EncDecAttention.k": "k_proj",
    "EncDecAttention.v": "v_proj",
    "EncDecAttention.o": "out_proj",
    "DenseReluDense.wi": "fc1",
    "DenseReluDense.wi_0": "gate_proj",
    "DenseReluDense.wi_1": "fc1",
    "DenseReluDense.wo": "fc2",
    "layer_norm": "norm",
}
WHOLE = {
    "shared.weight": "decoder.token_embed.weight",
    "lm_head.weight": "decoder.lm_head.weight",
    "encoder.final_layer_norm.weight": "encoder.norm.weight",
    "decoder.final_layer_norm.weight": "decoder.norm.weight",
}
BIAS = re.compile(r"(encoder|decoder)\.block\.0\.layer\.0\.SelfAttention\.relative_attention_bias\.weight")
BLOCK = re.compile(r"(encoder|decoder)\.block\.(\d+)\.layer\.(\d)\.(.+)\.weight")
# The token embedding under its other names, and a bias that the first T5s were saved with and that nothing reads.
UNUSED = re.compile(r"((encoder|decoder)\.embed_tokens|.*\.EncDecAttention\.relative_attention_bias)\.weight")


def rename_t5(tensors: Mapping[str, T]) -> dict[str, T]:
    """The tensors of a T5 under our names, from those that transformers gives them; its aliases are left out.

    A name that transformers doesn't give stays as it is.
    """
    renamed: dict[str, T] = {}
    for name, tensor in tensors.items():
        if UNUSED.fullmatch(name):
            continue
        if bias := BIAS.fullmatch(name):
            renamed[f"{bias[1]}.position_bias.weight"] = tensor
        elif (block := BLOCK.fullmatch(name)) and (block[1], block[3]) in PARTS and block[4] in MAPS:
            stack, index, part, of = block.groups()
            renamed[f"{stack}.blocks.{index}.{PARTS[stack, part]}.{MAPS[of]}.weight"] = tensor
        else:
            renamed[WHOLE.get(name, name)] = tensor
    return renamed


def migrate_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint under today's names: before, networks were transformers' modules under `t5.`.

    A pair's stand behind `guess.` and `correction.`. Tensors that have today's names keep them.
    """
    migrated: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        prefix = next((half for half in ("guess.", "correction.") if name.startswith(half)), "")
        own = name.removeprefix(prefix)
        if own.startswith("t5."):
            found = list(rename_t5({own.removeprefix("t5."): tensor}))
        elif own.startswith(("student.block.", "student.final_layer_norm.")):
            (read,) = rename_t5({f"encoder.{own.removeprefix('student.')}": tensor})
            found = [f"surrogate.{read.removeprefix('encoder.')}"]
        else:
            own = re.sub(r"^student\.say\.", "surrogate.head.", own)
            found = [re.sub(r"^(target|hypothesis|difference)\.(enter|leave)\.", _projection, own)]
        migrated |= {f"{prefix}{new}": tensor for new in found}
    return migrated


def _projection(name: re.Match[str]) -> str:
    return f"{name[1]}.{'fc1' if name[2] == 'enter' else 'fc2'}."


def share_encoder(model: Any) -> Encoder:
    """An `Encoder` over the parameters of transformers' T5 encoder `model`: they are the same, not copies."""
    with torch.device("meta"):  # the parameters are its storage
        encoder = Encoder(model.config, model.config.num_layers)
    named = {name: part for name, part in model.named_parameters() if name.startswith("encoder.")}
    found = {name.removeprefix("encoder."): part for name, part in rename_t5(named).items()}
    encoder.load_state_dict(found, assign=True)
    return encoder.train(model.training)


def store_weights(network: nn.Module, device: torch.device, *, exact: bool = False) -> None:
    """Store weights as inference on `device` reads them.

    In bfloat16 on a GPU, to which autocast and `rms_norm` would round them at every use, and on a CPU where that is
    faster and `torch.set_float32_matmul_precision` has said "medium", or nothing and the network needn't be `exact`:
    with the scales of norms folded into the maps after them, and queries, keys and values side by side; position biases
    stay as they are. Else on a CPU by columns: products with few rows then read them in order, 15 % faster in all.
    """
    half = bfloat16_is_fast(device)
    if device.type == "cpu":
        said: str = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
        half = half and said in (("bf16",) if exact else ("bf16", "none"))
    if not half:
        for module in network.modules() if device.type == "cpu" else ():
            if isinstance(module, nn.Linear):
                module.weight.data = module.weight.data.t().contiguous().t()
        return
    blocks = [module for module in network.modules() if isinstance(module, EncoderBlock | DecoderBlock)]
    for block in blocks:  # before anything is rounded
        block.fold_norms()
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.RMSNorm):
            module.to(torch.bfloat16)
        elif isinstance(module, Decoder):
            module.token_embed.to(torch.bfloat16)
    for block in blocks:
        block.fuse_qkv()
