"""Devices: choosing one, and where products in half precision pay."""

import torch

from unembed.errors import InputError, brief

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
        torch.zeros(1, device=place).item()  # "meta" has no values to give back
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = brief(str(error).partition("\n")[0].partition(". ")[0])
        raise InputError(f"device {brief(device)!r} can't be used here: {reason}") from error
    return place
