"""`unembed invert`: the command, where its results go, and what it says of them."""

from unembed.cli.invert.command import invert

__all__ = ["invert"]
