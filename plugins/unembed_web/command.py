"""`unembed web`: a page on this machine."""

import logging
import os
import secrets
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unembed.errors import InputError, MissingExtraError
from unembed_web.plugin import LIBRARIES, MISSING

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette

__all__ = ["server", "web"]

PORT = 8386
PATIENCE = 2  # seconds, for work to end when the page does


@click.command()
@click.argument("audits", nargs=-1, metavar="[AUDIT_FOLDER]...", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"Port to listen on; 0 takes any free one.  [default: {PORT}, or a free one if that is taken]",
)
@click.option(
    "--inverter",
    "inverters",
    multiple=True,
    help="Offer this inverter, a name or a checkpoint folder. Repeat it for several.  [default: all installed]",
)
@click.option("--device", help="cpu, cuda, cuda:1 …  [default: the accelerator if there is one]")
def web(audits: tuple[Path, ...], host: str, port: int | None, inverters: tuple[str, ...], device: str | None) -> None:
    """Serve a page on which to invert a text or a vector, watch each step, and look through audits.

    AUDIT_FOLDER is what `unembed audit --out` wrote. The page is for this machine alone unless --host says otherwise,
    loads nothing from elsewhere, and keeps nothing of what is typed or dropped on it. Ctrl-C ends it.
    """
    if missing := [name for name in LIBRARIES if find_spec(name) is None]:
        raise MissingExtraError(f"{MISSING} (missing: {', '.join(missing)})")
    from unembed_web.app import Page, application
    from unembed_web.audits import open_audits
    from unembed_web.catalogue import Catalogue
    from unembed_web.guard import is_loopback
    from unembed_web.line import Line

    catalogue, opened = Catalogue(inverters, device), open_audits(audits)
    listening = _listen(host, port)
    with listening:
        here = listening.getsockname()[1]
        token = None if is_loopback(host) else secrets.token_urlsafe(24)
        line = Line()
        try:
            app = application(Page(catalogue, line, opened), host=host, port=here, token=token)
            _announce(host, here, token)
            server(app).run(sockets=[listening])
        except KeyboardInterrupt:
            click.echo("", err=True)  # the way to end it, and no failure
        finally:
            ended = line.close(PATIENCE)
    if not ended:
        # In the middle of a step, or of opening an inverter: C++ aborts where the interpreter ends under its threads.
        sys.stdout.flush()
        os._exit(0)


def _listen(host: str, port: int | None) -> socket.socket:
    """A socket bound to the address; where no port was asked for and ours is taken, to a free one."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, PORT if port is None else port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise InputError(f"--host {host!r} is no address of this machine: {error.strerror or error}") from error
    try:
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        if port is None:
            return _listen(host, 0)
        raise InputError(
            f"can't listen on {host}:{port}: {error.strerror or error}; choose another --port, or 0 for any free one"
        ) from error


def _announce(host: str, port: int, token: str | None) -> None:
    name = f"[{host}]" if ":" in host else host
    if token is None:
        click.echo(f"unembed web: http://{name}:{port}/  (Ctrl-C ends it)")
        return
    click.echo(
        f"warning: {host} can be reached from other machines, and what is sent isn't encrypted. Whoever has the "
        "token can use the inverters and read the audits of this page.",
        err=True,
    )
    if name in ("0.0.0.0", "[::]"):
        name = socket.gethostname()
    click.echo(f"unembed web: http://{name}:{port}/?token={token}  (Ctrl-C ends it)")


def server(app: "Starlette") -> "uvicorn.Server":
    """What serves the page's application; it says nothing of itself and logs no request."""
    import uvicorn

    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)
