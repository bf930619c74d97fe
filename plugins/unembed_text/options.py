"""What may follow an embedder's kind in its name: `SOURCE?key=value&key=value`."""

from typing import TypeVar
from urllib.parse import parse_qsl

from unembed.config import Config, parse
from unembed.errors import ConfigError, InputError

__all__ = ["split_options"]

Options = TypeVar("Options", bound=Config)


def split_options(argument: str, model: type[Options], *, kind: str, example: str) -> tuple[str, Options]:
    """The source and the options of `argument`; raises InputError that shows `example` or lists the options."""
    source, _, query = argument.partition("?")
    if not source:
        raise InputError(f"{kind} needs a model: {example}")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        return source, parse(model, dict(pairs), f"{kind}:{argument}")
    except (ValueError, ConfigError) as error:
        raise InputError(f"{kind}:{argument}: {error}; options: {', '.join(model.model_fields)}") from error
