"""The contract as checks, by what they look at: an inverter, a training config, a plugin."""

from unembed.testing.checks import codec, embedder, inverter, plugin, proposals, training
from unembed.testing.suite import Check

__all__ = ["INVERTER", "PLUGIN", "TRAINING"]


def _of(*modules: object) -> tuple[Check, ...]:
    """The checks of some modules in order, those that they import from each other once."""
    return tuple(
        dict.fromkeys(value for module in modules for value in vars(module).values() if isinstance(value, Check))
    )


INVERTER = _of(codec, embedder, proposals, inverter)
PLUGIN = _of(plugin)
TRAINING = _of(training)
