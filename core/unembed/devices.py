"""Devices: choosing one, and where products in half precision pay."""

import torch

from unembed.errors import InputError

__all__ = ["bfloat16_is_fast", "choose_device"]


def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether products in bfloat16 take less time than in float32: on GPUs, and CPUs with instructions for them."""
    if device.type != "cpu":
        return device.type == "cuda"
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch has no public way to ask
    return any(getattr(torch.cpu, name, bool)() for name in asked)


def choose_device(device: str | torch.device | None) -> torch.device:
    """The device of that name, by default the accelerator if there is one; raises InputError."""
    try:
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {str(device)!r} can't be used here: {str(error).splitlines()[0]}") from error
    return place
