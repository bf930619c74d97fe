"""Config from TOML: frozen models, unknown keys refused, one-line errors."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from unembed.errors import ConfigError

__all__ = ["Config", "parse", "read_toml"]


class Config(BaseModel):
    """The base of every config table."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The TOML file at `path` with `overrides` (`table.key=value`, the value as TOML or else a string)."""
    try:
        data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"can't read the config {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} isn't valid TOML: {error}") from error
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"an override must read key=value; got {override!r}")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        *tables, last = key.strip().split(".")
        place = data
        for table in tables:
            place = place.setdefault(table, {})
            if not isinstance(place, dict):
                raise ConfigError(f"override {override!r}: {table!r} is a value in {path}, not a table")
        place[last] = value
    return data


def parse(model: type[Model], data: Mapping[str, Any], origin: str) -> Model:
    """`data` as a `model`; raises ConfigError that names the origin and every wrong key in one line."""
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'config'}: {fault['msg']}" for fault in error.errors()
        )
        raise ConfigError(f"{origin}: {faults}") from error
