"""Writes what the docs can take from the code: `python docs/generate.py`, with `--check` to compare only."""

import inspect
import re
import sys
from pathlib import Path

import click

from unembed import hooks
from unembed.cli import root

HERE = Path(__file__).parent


def cli_page() -> str:
    """Every command's help."""
    parts = ["# Command line\n\nWritten by `make docs` from the commands themselves.\n"]
    top = click.Context(root, info_name="unembed")
    names = root.list_commands(top)
    for name, command in [("", root), *((name, root.get_command(top, name)) for name in names)]:
        context = click.Context(command, info_name=f"unembed {name}".strip(), terminal_width=100)
        parts.append(f"## `{context.info_name}`\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def hook_table() -> str:
    """One row a hook: its name, what it returns, its sentence."""
    rows = ["| hook | returns | offers |", "|---|---|---|"]
    for name, function in inspect.getmembers(hooks, inspect.isfunction):
        if name.startswith("register_"):
            returns = str(inspect.signature(function).return_annotation).strip("'\"")
            rows.append(f"| `{name}` | `{returns}` | {inspect.getdoc(function)} |")
    return "\n".join(rows)


def pages() -> dict[Path, str]:
    """Each generated file and what it should hold."""
    plugins = (HERE / "plugins.md").read_text(encoding="utf-8")
    table = f"<!-- hooks -->\n{hook_table()}\n<!-- end -->"
    return {
        HERE / "cli.md": cli_page(),
        HERE / "plugins.md": re.sub(r"<!-- hooks -->.*?<!-- end -->", lambda _: table, plugins, flags=re.DOTALL),
    }


def main() -> int:
    """Write the pages, or with `--check` say which are out of date."""
    stale = [path for path, text in pages().items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if "--check" in sys.argv:
            print(f"{path.relative_to(HERE.parent)} is out of date: run make docs")
        else:
            path.write_text(pages()[path], encoding="utf-8")
            print(f"wrote {path.relative_to(HERE.parent)}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
