"""Where products in half precision pay."""

import torch

__all__ = ["bfloat16_is_fast"]


def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether products in bfloat16 take less time than in float32: on GPUs, and CPUs with instructions for them."""
    if device.type != "cpu":
        return device.type == "cuda"
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch has no public way to ask
    return any(getattr(torch.cpu, name, bool)() for name in asked)
