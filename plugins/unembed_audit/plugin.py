"""What the audit plugin offers: the commands `audit` and `identify`. Heavy imports wait for the factories."""

from typing import TYPE_CHECKING

from unembed.registry.extras import needs_extra

from unembed.registry.hooks import hookimpl
from unembed.registry.specs import CommandSpec

if TYPE_CHECKING:
    import click

_with_extra = needs_extra("audit", "audits need", {"jinja2", "markupsafe", "phonenumbers", "pygal", "stdnum"})


@hookimpl
def register_commands() -> list[CommandSpec]:
    return [
        CommandSpec("audit", "invert a sample of a vector store and report what it gives away", _audit),
        CommandSpec("identify", "say which embedder made the vectors of a store", _identify),
    ]


@_with_extra
def _audit() -> "click.Command":
    import phonenumbers  # noqa: F401  what is missing is said before an hour of inverting, not after it
    import pygal  # noqa: F401
    import stdnum  # noqa: F401

    from unembed_audit.commands.audit import audit

    return audit


def _identify() -> "click.Command":
    from unembed_audit.commands.identify import identify

    return identify
