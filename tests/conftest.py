"""What several tests share: the toy modality, installed as a stranger's plugin would be."""

from importlib.metadata import EntryPoint

import pytest
import torch

from unembed import registry

torch.set_num_threads(2)


@pytest.fixture
def install(monkeypatch):
    """Install entry points beside the real ones: `install(EntryPoint(…), …)`."""
    real = tuple(registry.entry_points(group=registry.GROUP))

    def add(*points: EntryPoint) -> None:
        monkeypatch.setattr(registry, "entry_points", lambda group: (*real, *points))

    return add


@pytest.fixture
def toy_plugin(install) -> None:
    install(EntryPoint(name="toy", value="unembed.testing.toy", group="unembed"))
