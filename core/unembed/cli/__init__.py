"""The command line: `unembed`. A command parses, calls the library and prints.

Exit codes: 0 done, 1 the work failed, 2 the arguments or the input were wrong, 130 interrupted.
"""

import os
import signal
import sys
import warnings

import click

from unembed import __version__
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
)

__all__ = ["main", "root"]

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
        return _say(f"{type(error).__name__}: {error} (run again with --debug for the traceback)", 1)


def _say(message: str, code: int) -> int:
    click.echo("error: " + " ".join(message.split()), err=True)
    return code
