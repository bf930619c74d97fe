"""What the audit plugin offers: the commands `audit` and `identify`."""

from unembed.registry.hooks import hookimpl
from unembed.registry.lazy import lazy
from unembed.registry.specs import CommandSpec

LIBRARIES = ("jinja2", "markupsafe", "phonenumbers", "pygal", "stdnum")


@hookimpl
def register_commands() -> list[CommandSpec]:
    missing = "audits need an extra: pip install 'unembed[audit]'"
    audit = lazy("unembed_audit.commands.audit:audit", missing=missing, libraries=LIBRARIES)
    identify = lazy("unembed_audit.commands.identify:identify")
    return [
        CommandSpec("audit", "Report what the vectors of a store give away.", audit.get),
        CommandSpec("identify", "Say which embedder made the vectors of a store.", identify.get),
    ]
