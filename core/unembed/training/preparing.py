"""What is checked before a training begins."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unembed.errors import ConfigError
from unembed.training.config import TrainConfig
from unembed.training.recipe import Recipe

if TYPE_CHECKING:
    from unembed.registry.specs import Method

__all__ = ["build_recipe", "fitted_depth"]


def build_recipe(method: "Method", table: Mapping[str, Any], *, device: str, seed: int) -> Recipe:
    """The recipe of a config's `[recipe]` table; raises ConfigError for what the table can't say."""
    if method.recipe is None:
        raise ConfigError(f"method {method.name!r} isn't trained by a config")
    for key in ("device", "seed"):
        if key in table:
            raise ConfigError(f"[recipe] {key}: set it at the top of the config, above [recipe]")
    return method.recipe({**table, "device": device, "seed": seed})


def fitted_depth(config: TrainConfig, method: "Method") -> TrainConfig:
    """The config with a depth that the method can train on; raises ConfigError where another one is asked for."""
    if method.depth is None or config.depth <= method.depth:
        return config
    if "depth" in config.model_fields_set:
        raise ConfigError(f"depth: {config.depth} is too much for method {method.name!r}; set depth = {method.depth}")
    return config.model_copy(update={"depth": method.depth})
