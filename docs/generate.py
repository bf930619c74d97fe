"""Writes what the docs can take from the code: `python docs/generate.py`, with `--check` to compare only."""

import inspect
import re
import sys
from pathlib import Path

import click

from unembed.cli import root
from unembed.registry import hooks
from unembed.testing.checks import INVERTER, PLUGIN, TRAINING
from unembed.training import TrainConfig
from unembed_image.methods.flow.recipe import ImageRecipeConfig
from unembed_lm.methods.logprobs.recipe import PromptRecipeConfig
from unembed_text.methods.closed.recipe import TextRecipeConfig
from unembed_text.methods.vec2text.recipe import PairRecipeConfig

HERE = Path(__file__).parent


def cli_page() -> str:
    """Every command's help."""
    parts = ["# Command line\n\n`make docs` writes this page from the commands themselves.\n"]
    top = click.Context(root, info_name="unembed")
    names = root.list_commands(top)
    for name, command in [("", root), *((name, root.get_command(top, name)) for name in names)]:
        context = click.Context(command, info_name=f"unembed {name}".strip(), terminal_width=80)
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


def rules() -> str:
    """A heading and a sentence for each rule of the contract, so that a failure can point at it."""
    parts = []
    for title, group in (("inverters", INVERTER), ("plugins", PLUGIN), ("training", TRAINING)):
        parts.append(f"## Rules of {title}\n")
        for check in group:
            needs = f" Checked after {', '.join(f'[{name}](#{name})' for name in check.needs)}." if check.needs else ""
            declared = " Applies only if the ability is declared." if check.when is not None else ""
            parts.append(f"### {check.name}\n\n{check.rule}{declared}{needs}\n")
    return "\n".join(parts).rstrip()


def config_tables() -> str:
    """What a training config may hold."""
    parts = []
    tables = (
        ("The file", TrainConfig),
        ("`[recipe]` of `closed` (text)", TextRecipeConfig),
        ("`[recipe]` of `vec2text` (text)", PairRecipeConfig),
        ("`[recipe]` of `flow` (images)", ImageRecipeConfig),
        ("`[recipe]` of `logprobs` (prompts)", PromptRecipeConfig),
    )
    for title, model in tables:
        parts.append(f"## {title}\n\n| key | kind | default | |\n|---|---|---|---|")
        for name, field in model.model_fields.items():
            if model is not TrainConfig and name in ("device", "seed"):
                continue  # the trainer's own
            default = "required" if field.is_required() else f"`{field.default!r}`"
            kind = getattr(field.annotation, "__name__", None) or str(field.annotation)
            kind = (
                kind if "[" not in str(field.annotation) and "|" not in str(field.annotation) else str(field.annotation)
            )
            kind = re.sub(r"(?:typing\.)?Annotated\[(\w+), FieldInfo\(.*\)\]", r"\1", kind)
            kind = kind.replace("typing.", "").replace("pathlib.", "").replace("|", "or")
            parts.append(f"| `{name}` | {kind} | {default} | {field.description or ''} |")
        parts.append("")
    return "\n".join(parts).rstrip()


def filled(page: str, mark: str, text: str) -> str:
    """The page with what stands between its marks replaced."""
    return re.sub(
        rf"<!-- {mark} -->.*?<!-- end -->", lambda _: f"<!-- {mark} -->\n{text}\n<!-- end -->", page, flags=re.S
    )


def pages() -> dict[Path, str]:
    """Each generated file and what it should hold."""
    parts = {
        "hooks.md": ("hooks", hook_table()),
        "contract.md": ("rules", rules()),
        "config.md": ("config", config_tables()),
    }
    found = {HERE / name: filled((HERE / name).read_text("utf-8"), *part) for name, part in parts.items()}
    return {HERE / "cli.md": cli_page(), **found}


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
