"""Every Python block of the docs runs, every command parses, and the generated pages are current."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from unembed.cli import root
from unembed.testing.checks import INVERTER, PLUGIN, TRAINING

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
    assert len(COMMANDS) >= 12
    assert sum(len(blocks(page, "python")) for page in PAGES) >= 6


def test_the_generated_pages_are_current() -> None:
    found = subprocess.run([sys.executable, ROOT / "docs/generate.py", "--check"], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.slow
def test_the_tutorial_works_as_written(environment, tmp_path) -> None:
    """Files are written, commands run and their output compared, in the order of the page."""
    page = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    folder = tmp_path / "empty"
    folder.mkdir()
    done = []
    for title, body in re.findall(r'^```\w+(?: title="(.+?)")?\n(.*?)^```', page, flags=re.DOTALL | re.MULTILINE):
        if title:
            (folder / title).write_text(body, encoding="utf-8")
        elif body.startswith("$ "):
            for line in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                command, *expected = line.splitlines()
                out = follow(environment, shlex.split(command), folder)
                assert not [text for text in expected if text.strip() and text not in out], out
                done.append(command)
    assert "pytest" in done and "unembed check colours" in done
    black_box = folder / "unembed_colours/black_box.py"
    black_box.write_text(black_box.read_text().replace("normalized=False", "normalized=True"))
    environment.install(folder)
    out = " ".join(environment.unembed("check", "colours", cwd=folder, code=1).split())
    assert " ".join(blocks(ROOT / "docs/tutorial.md", "text")[0].split()) in out


def follow(environment, words: list[str], folder: Path) -> str:
    """Do what a command of the tutorial does, in an environment that has unembed already."""
    match words:
        case ["python", "-m", "venv", *_] | ["pip", "install", "unembed[kit]"]:
            return ""
        case ["mkdir", *names]:
            for name in names:
                (folder / name).mkdir()
            return ""
        case ["pip", "install", "-e", "."]:
            environment.install(folder)
            return ""
        case ["unembed", *rest]:
            return environment.unembed(*rest, cwd=folder)
        case ["pytest"]:
            return environment.run("-m", "pytest", "-p", "no:cacheprovider", cwd=folder)
    raise AssertionError(f"the tutorial runs {words}, which this test doesn't know")


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, env=quiet)
    assert done.returncode == 0 and not done.stderr.strip(), done.stdout + done.stderr
    reference = (tmp_path / "site/reference/index.html").read_text(encoding="utf-8")
    assert 'id="unembed.contract.proposers.Corrector.correct"' in reference
    contract = (tmp_path / "site/contract/index.html").read_text(encoding="utf-8")
    assert not [check.name for check in (*INVERTER, *PLUGIN, *TRAINING) if f'id="{check.name}"' not in contract]
