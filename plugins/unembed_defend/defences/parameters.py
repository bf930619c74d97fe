"""The parameter in a defence's name, read and checked."""

import math

from unembed.errors import InputError, brief

__all__ = ["above_zero", "no_parameter", "whole"]


def above_zero(name: str, argument: str, parameter: str, *, what: str) -> float:
    """A number above 0; raises InputError."""
    try:
        value = float(argument)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name}:{parameter} takes {what} above 0; got {brief(argument)!r}")
    return value


def whole(name: str, argument: str, parameter: str, *, what: str) -> int:
    """A whole number above 0; raises InputError."""
    if not (argument.isascii() and argument.isdigit() and 0 < int(argument) < 2**20):
        raise InputError(f"{name}:{parameter} takes {what}, a whole number above 0; got {brief(argument)!r}")
    return int(argument)


def no_parameter(name: str, argument: str) -> None:
    """Raises InputError where there is one."""
    if argument:
        raise InputError(f"defence {name} takes no parameter; got {brief(argument)!r}")
