"""The installed package: what it offers, and that offering costs nothing."""

import json
import os
import subprocess
import sys
from collections import Counter
from importlib.metadata import packages_distributions

import torch

from unembed.inversion.inverter import Inverter
from unembed.registry.discovery import KINDS, offers
from unembed.registry.opening import build
from unembed.registry.specs import PluginInfo
from unembed.testing.checks._tools import equal
from unembed.testing.suite import check

# What else a plugin's module may load; everything else waits for a factory.
_LIGHT = {"pluggy", "unembed"}


@check()
def plugin_loads(plugin: PluginInfo) -> None:
    """Its module imports, every hook in it has a known name, and no other plugin offers one of its names."""
    assert plugin.error is None, f"{type(plugin.error).__name__}: {plugin.error}"


@check(plugin_loads)
def plugin_offers_something(plugin: PluginInfo) -> None:
    """It offers something, each thing once under its name and with a summary of one line."""
    own = [(kind, spec) for kind in KINDS for spec in getattr(plugin, kind)]
    assert own, "it offers nothing"
    for kind, spec in own:
        assert spec.name.strip() and ":" not in spec.name, f"{spec.name!r} isn't a name: it is empty or has a colon"
        assert spec.summary.strip(), f"{spec.name!r} of its {kind} has no summary"
        assert "\n" not in spec.summary, f"the summary of {spec.name!r} has several lines"
    for (kind, name), count in Counter((kind, spec.name) for kind, spec in own).items():
        assert count == 1, f"{name!r} stands {count} times among its {kind}"


@check(plugin_offers_something)
def plugin_methods_have_a_modality(plugin: PluginInfo) -> None:
    """Each method is for a modality that an installed plugin offers."""
    for spec in plugin.methods:
        known = ", ".join(sorted(offers("modalities"))) or "none"
        assert spec.modality in offers("modalities"), f"{spec.name!r} is for {spec.modality!r}; offered: {known}"


@check(plugin_loads)
def plugin_loads_nothing_heavy(plugin: PluginInfo) -> None:
    """Importing its module in a fresh process loads no other library, torch included: the factories do."""
    module = plugin.module.partition(":")[0]
    light = {module.partition(".")[0], *_LIGHT, *sys.stdlib_module_names}
    heavy = _heavy(module, light)
    if heavy:  # or its distribution's other packages, which takes a second to find out
        own = {name for name, owners in packages_distributions().items() if plugin.distribution in owners}
        heavy = _heavy(module, light | own) if heavy & own else heavy
    assert not heavy, f"its import loads {', '.join(sorted(heavy))}"


_IMPORTING = """
import importlib, json, sys, unembed.registry
module, light = json.loads(sys.argv[1])
heavy = []

class Watch:
    def find_spec(self, name, path=None, target=None):
        found = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        if name.partition(".")[0] not in light and any(found):
            heavy.append(name.partition(".")[0])
            raise ImportError(f"{name} is heavy")

sys.meta_path.insert(0, Watch())
try:
    importlib.import_module(module)
except ImportError:
    if not heavy:
        raise
print(*heavy)
"""


def _heavy(module: str, light: set[str]) -> set[str]:
    """The libraries that a module begins to import in a fresh process and that aren't light; none is loaded."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", _IMPORTING, json.dumps([module, sorted(light)])]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, f"it can't be imported in a fresh process: {run.stderr.strip().splitlines()[-1]}"
    return set(run.stdout.splitlines()[-1].split()) if run.stdout.strip() else set()


@check(plugin_offers_something, when=lambda plugin: bool(plugin.inverters))
def plugin_builds_its_inverters(plugin: PluginInfo) -> None:
    """Each inverter that it offers can be built, on the device asked for, and inverts vectors as wide as it says."""
    for spec in plugin.inverters:
        made = build(spec, torch.device("cpu"))
        assert isinstance(made, Inverter), f"the factory of {spec.name!r} returned {type(made).__name__}"
        equal(made.embedder.device.type, "cpu", f"the device of {spec.name!r}, asked for on the CPU")
        if spec.dimension is not None:
            equal(made.dimension, spec.dimension, f"the width of the vectors of {spec.name!r}")
