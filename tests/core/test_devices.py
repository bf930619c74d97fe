"""Half precision only where a device is faster with it."""

import pytest
import torch

from unembed.devices import bfloat16_is_fast


@pytest.mark.parametrize("name", ["_is_avx512_bf16_supported", "_is_amx_tile_supported"])
def test_a_cpu_is_asked_what_it_can(name, monkeypatch) -> None:
    for other in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, other, lambda: False, raising=False)
    assert not bfloat16_is_fast(torch.device("cpu"))
    monkeypatch.setattr(torch.cpu, name, lambda: True)
    assert bfloat16_is_fast(torch.device("cpu"))
    monkeypatch.delattr(torch.cpu, name)  # as where torch can't be asked
    assert not bfloat16_is_fast(torch.device("cpu"))


def test_of_other_devices_only_cuda_is_known_to_be() -> None:
    assert bfloat16_is_fast(torch.device("cuda")) and not bfloat16_is_fast(torch.device("mps"))
