"""The command line: `unembed`. A command parses, calls the library and prints.

Exit codes: 0 done, 1 the work failed, 2 the arguments or the input were wrong, 130 interrupted.
"""

import errno
import os
import signal
import sys
import warnings

import click

from unembed.cli.adapt import adapt
from unembed.cli.calibrate import calibrate
from unembed.cli.check import check
from unembed.cli.evaluate import evaluate
from unembed.cli.invert import invert
from unembed.cli.new_plugin import new_plugin
from unembed.cli.plugins import plugins
from unembed.cli.train import train
from unembed.errors import (
    CheckpointError,
    ConfigError,
    EmbedderMismatchError,
    InputError,
    MissingExtraError,
    UnembedError,
    UnknownNameError,
    brief,
)
from unembed.version import __version__

__all__ = ["main", "root"]

LONGEST = 390  # characters of a message
# What was asked for or given is at fault: exit code 2.
WRONG = InputError | UnknownNameError | ConfigError | MissingExtraError | CheckpointError | EmbedderMismatchError


class Root(click.Group):
    """The built-in commands, then those of plugins; a plugin's command is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from unembed.registry.discovery import commands

        return sorted({*self.commands, *commands()})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in self.commands:
            return self.commands[name]
        from unembed.registry.discovery import command

        offered = command(name)
        return None if offered is None else offered.load()


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="unembed")
@click.option("--debug", is_flag=True, help="Show the traceback of an error; works after any command too.")
def root(debug: bool) -> None:
    """Recover what was embedded: from vectors and query access to their model, back to the inputs."""


for built_in in (adapt, calibrate, check, evaluate, invert, new_plugin, plugins, train):
    root.add_command(built_in)


def main() -> None:
    """Run the command line and exit."""
    # Threads that wait for one another sleep: spinning, they would take the time of whatever else runs here.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever asks us to end is obeyed as Ctrl-C is
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug = "--debug" in options
    if debug:
        arguments = [word for word in options if word != "--debug"] + arguments[len(options) :]
    else:
        # The libraries under a plugin have bars and warnings of their own; they stay out of the output.
        os.environ.setdefault("TQDM_DISABLE", "1")
        warnings.simplefilter("ignore")
    try:
        _check_surroundings(arguments)
        return root.main(args=arguments, prog_name="unembed", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        return _say(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _say("interrupted", 130)
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not find the broken pipe again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except UnembedError as error:
        if debug:
            raise
        wrong = isinstance(error, WRONG)
        return _say(str(error), 2 if wrong else 1)
    except Exception as error:
        if debug:
            raise
        if isinstance(error, OSError) and error.filename is not None:
            return _say(f"can't use {brief(error.filename)}: {error.strerror}", 2)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return _lost_output(error)
        if isinstance(error, MemoryError) or "failed to map segment" in str(error):
            return _say(
                "there isn't enough memory: give the process more, or search less at once (--effort, --beam)", 1
            )
        return _say(f"{type(error).__name__}: {error} (run again with --debug for the traceback)", 1)


def _check_surroundings(arguments: list[str]) -> None:
    if any("\0" in word for word in arguments):
        raise InputError("an argument holds a zero byte, which no name or text here can")
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise InputError("the working folder was deleted; change to another") from error


def _lost_output(error: OSError) -> int:
    """What was printed went to a full disk; the interpreter must not try again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _say(f"can't write to standard output: {error.strerror}", 1)


def _say(message: str, code: int) -> int:
    click.echo("error: " + brief(message, LONGEST), err=True)
    return code
