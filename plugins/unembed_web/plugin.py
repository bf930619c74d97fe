"""What the page's plugin offers: the command `web`."""

from unembed.registry.hooks import hookimpl
from unembed.registry.lazy import lazy
from unembed.registry.specs import CommandSpec

LIBRARIES = ("anyio", "starlette", "uvicorn")
MISSING = "the page needs an extra: pip install 'unembed[web]'"


@hookimpl
def register_commands() -> list[CommandSpec]:
    web = lazy("unembed_web.command:web", missing=MISSING, libraries=LIBRARIES)
    return [CommandSpec("web", "Watch inversions and look through audits on a local page.", web.get)]
