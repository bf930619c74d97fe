"""`unembed plugins`: what is installed, and from which package."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from unembed.registry.specs import PluginInfo

__all__ = ["plugins"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per plugin.")
def plugins(as_json: bool) -> None:
    """List the installed plugins, what each offers, and what is missing to use it."""
    from unembed.registry.discovery import KINDS
    from unembed.registry.discovery import plugins as installed
    from unembed.registry.extras import lacking

    every = installed()
    for plugin in every:
        if as_json:
            click.echo(json.dumps(_row(plugin, every)))
            continue
        width = max(10, *(len(spec.name) for kind in KINDS for spec in getattr(plugin, kind)), 0)
        click.echo(click.style(plugin.name, bold=True) + f"  ({plugin.distribution} {plugin.version})")
        if plugin.error is not None:
            click.echo(f"  at fault: {type(plugin.error).__name__}: {plugin.error}")
        for kind, word in KINDS.items():
            for spec in getattr(plugin, kind):
                missing = lacking(spec, every)
                mark = "" if missing is None else click.style(f"  [{missing}]", fg="yellow")
                click.echo(f"  {word:<9} {spec.name:<{width}} {spec.summary}{mark}")


def _row(plugin: "PluginInfo", every: "Sequence[PluginInfo]") -> dict[str, Any]:
    from unembed.registry.discovery import KINDS
    from unembed.registry.extras import lacking

    offers = {
        kind: [
            {"name": spec.name, "summary": spec.summary, "missing": lacking(spec, every)}
            for spec in getattr(plugin, kind)
        ]
        for kind in KINDS
    }
    error = None if plugin.error is None else f"{type(plugin.error).__name__}: {plugin.error}"
    return {"name": plugin.name, "package": plugin.distribution, "version": plugin.version, **offers, "error": error}
