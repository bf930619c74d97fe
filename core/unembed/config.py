"""Config from TOML: frozen models, unknown keys refused, one-line errors."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from unembed.errors import ConfigError, brief

__all__ = ["Config", "faults", "parse", "read_toml"]

SHOWN = 5  # faults of a table that a message names


class Config(BaseModel):
    """The base of every config table: frozen, without unknown keys, finite numbers, and truth values for no number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and {kind, *get_args(kind)} & {int, float}:
            raise ValueError(f"expected a number, got {str(value).lower()}")
        return value


Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The TOML file at `path` with `overrides` (`table.key=value`, the value as TOML or else a string)."""
    try:
        data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"can't read the config {brief(path)}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # TOML and UTF-8 that aren't
        raise ConfigError(f"{path} isn't valid TOML: {error}") from error
    for override in overrides:
        key, equals, text = override.partition("=")
        *tables, last = key.strip().split(".")
        if not equals or not all((*tables, last)):
            raise ConfigError(f"an override must read key=value; got {brief(override)!r}")
        try:
            found = tomllib.loads(f"value = {text}")
        except (ValueError, RecursionError):
            found = {"value": text}
        if found.keys() != {"value"}:
            raise ConfigError(f"an override sets one key; {brief(override)!r} has several lines")
        place = data
        for table in tables:
            place = place.setdefault(table, {})
            if not isinstance(place, dict):
                raise ConfigError(f"override {brief(override)!r}: {table!r} is a value in {path}, not a table")
        place[last] = found["value"]
    return data


def parse(model: type[Model], data: Mapping[str, Any], origin: str) -> Model:
    """Check the table `data` and return it as a `model`, a subclass of `Config`.

    `origin` says where the table is from. Raises ConfigError, which names it and the wrong keys in one line.

    Examples:
        >>> import unembed
        >>> class Options(unembed.Config):
        ...     hidden: int = 256
        >>> unembed.parse(Options, {"hidden": 64}, "[recipe]").hidden
        64
        >>> unembed.parse(Options, {"hiden": 64}, "[recipe]")
        Traceback (most recent call last):
        unembed.errors.ConfigError: [recipe]: hiden: Extra inputs are not permitted
    """
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        raise ConfigError(f"{origin}: {faults(error)}") from error


def faults(error: ValidationError, table: str = "") -> str:
    """What is wrong with a table, key by key, on one line."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    told = [
        f"{brief('.'.join(filter(None, (table, *map(str, fault['loc'])))) or 'config')}: "
        f"{brief(fault['msg'].removeprefix('Value error, '), 160)}"
        for fault in found[:SHOWN]
    ]
    return "; ".join(told) + (f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
