"""Every Python block of the docs runs, every command parses, and the generated pages are current."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from unembed.cli import root

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


ELSEWHERE = {"vec2text.md", "apis.md", "train-your-own.md"}  # need stand-ins: tests/text/test_docs.py
HERE = [page for page in PAGES if blocks(page, "python") and page.name not in ELSEWHERE]


@pytest.mark.parametrize("page", HERE, ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page, monkeypatch) -> None:
    code = "\n".join(blocks(page, "python"))
    monkeypatch.chdir(ROOT)
    exec(compile(code, str(page), "exec"), {"__name__": page.stem})


COMMANDS = [
    (page.name, line.removeprefix("$ "))
    for page in PAGES
    for block in blocks(page, "console")
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("$ unembed")
]


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_the_commands_of_a_page_parse(page, line) -> None:
    words = shlex.split(line, comments=True)[1:]
    command = root.get_command(click.Context(root), words[0])
    command.make_context(words[0], words[1:])


def test_there_are_commands_and_python_to_check() -> None:
    assert len(COMMANDS) >= 4
    assert sum(len(blocks(page, "python")) for page in PAGES) >= 6


def test_the_generated_pages_are_current() -> None:
    found = subprocess.run([sys.executable, ROOT / "docs/generate.py", "--check"], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target
