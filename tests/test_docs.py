"""Every Python block of the docs runs, every command parses, and the generated pages are current."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

import unembed
from unembed.cli import root
from unembed.testing.checks import INVERTER, PLUGIN, TRAINING

ROOT = Path(__file__).parents[1]
SITE = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", *SITE]
CARDS = sorted(ROOT.glob("plugins/*/weights/**/README.md"))
EXAMPLES = sorted((ROOT / "examples").rglob("README.md"))
OUTSIDE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *CARDS, *EXAMPLES]  # pages that the site's builder doesn't see


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


ELSEWHERE = {"adapt.md", "vec2text.md", "apis.md", "train-your-own.md", "prompts.md"}  # need stand-ins: tests/{text,lm}
HERE = [page for page in PAGES if blocks(page, "python") and page.name not in ELSEWHERE]


@pytest.mark.parametrize("page", HERE, ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page, monkeypatch, tmp_path, install) -> None:
    code = "\n".join(blocks(page, "python"))
    plugins = re.findall(r'^```python title="(\w+)\.py"\n(.*?)^```', page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    for name, body in plugins:  # plugins of one file, installed for the rest of the page
        assert len(body.splitlines()) < 60
        (tmp_path / f"{name}.py").write_text(body, encoding="utf-8")
    if plugins:
        monkeypatch.syspath_prepend(tmp_path)
        install(*(EntryPoint(name, name, "unembed") for name, _ in [("unembed.testing.toy", ""), *plugins]))
    monkeypatch.chdir(tmp_path)
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


PROGRAMS = {
    word
    for page in [*PAGES, *OUTSIDE]
    for block in blocks(page, "console")
    for line in block.replace("\\\n", " ").splitlines()
    for found in re.findall(r"^\$ python (\S+\.py|-m \S+)|(?<= )(examples/\S+\.toml)", line)
    for word in found
    if word
}


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_a_program_that_a_page_runs_is_there(program) -> None:
    if program.startswith("-m "):
        assert find_spec(program.removeprefix("-m ")) is not None
    else:
        assert (ROOT / program).is_file() or list(ROOT.glob(f"examples/*/{program}"))


def test_there_are_commands_and_python_to_check() -> None:
    assert len(COMMANDS) >= 30 and len(PROGRAMS) >= 10
    assert len(SITE) >= 20 and len(CARDS) >= 4 and len(EXAMPLES) >= 2
    assert sum(len(blocks(page, "python")) for page in PAGES) >= 12
    indented = [page for page in PAGES if re.search(r"^ +```python", page.read_text("utf-8"), re.MULTILINE)]
    assert not indented, "blocks in lists don't run"
    assert sum(len(list(links(page))) for page in OUTSIDE) >= 20


GUIDES = [page for page in PAGES if not {"lab", "models"} & set(page.parts) and page.name != "cli.md"]


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_code_fits_the_width_of_a_page(page) -> None:
    commands = [line for block in blocks(page, "console") for line in block.splitlines() if line.startswith("$")]
    python = [] if page.name == "tutorial.md" else [line for b in blocks(page, "python") for line in b.splitlines()]
    assert not [line for line in [*commands, *python] if len(line) > 84]


def test_the_generated_pages_are_current() -> None:
    # In a process of its own: what other tests loaded and set would show in the pages.
    command = [sys.executable, ROOT / "docs/generate.py", "--check"]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """The files that a page links to, each with the heading it names or ""."""
    for target, heading in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            yield (page.parent / target if target else page), heading


def headings(page: Path) -> set[str]:
    """What links can name in a page."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


@pytest.mark.parametrize("page", [*SITE, *OUTSIDE], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page) -> None:
    """Those of the site too, whose builder also looks at headings that are made by included pages."""
    for target, heading in links(page):
        assert target.exists(), target
        if heading and page in OUTSIDE:
            assert heading in headings(target), f"{target}#{heading}"


@pytest.mark.slow
def test_the_tutorial_works_as_written(environment, tmp_path) -> None:
    """Files are written, commands run and their output compared, in the order of the page."""
    page = (ROOT / "docs/plugins/tutorial.md").read_text(encoding="utf-8")
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
    assert " ".join(blocks(ROOT / "docs/plugins/tutorial.md", "text")[0].split()) in out


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


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [str(page.relative_to(ROOT / "docs")) for page in SITE]
    assert not [page for page in pages if not re.search(rf"[:-] {re.escape(page)}$", navigation, flags=re.MULTILINE)]


def test_only_the_lab_needs_data_that_nobody_has_or_names_commits() -> None:
    lab = ROOT / "docs/lab"
    pages = [page for page in [*SITE, *OUTSIDE] if lab not in page.parents]
    texts = {page: page.read_text(encoding="utf-8") for page in [*pages, *ROOT.glob("examples/*.*")]}
    assert not [page for page, text in texts.items() if "../shared" in text]
    commit = r"git checkout|[Cc]ommits? `|\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{7,40}\b"
    assert not [(page, found) for page in pages if (found := re.findall(commit, texts[page]))]
    assert re.search(commit, "as of 4c4296f")


def site(folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Build the site of a copy of the docs, as `make docs` does."""
    command = [sys.executable, "docs/build.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, **more})


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in ("mkdocs.yml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    for room in ("core", "plugins"):
        (tmp_path / room).symlink_to(ROOT / room)
    done = site(tmp_path, SITE_REPOSITORY="https://example.org/unembed")
    assert done.returncode == 0 and "No issues found" in done.stdout + done.stderr, done.stdout + done.stderr
    built = tmp_path / "build/site"
    for page, names in {
        "reference": ["unembed.contract.proposers.Corrector.correct", "unembed.registry.opening.load"],
        "contract": [check.name for check in (*INVERTER, *PLUGIN, *TRAINING)],
        "models/minilm": ["limits"],
    }.items():
        text = (built / page / "index.html").read_text(encoding="utf-8")
        assert not [name for name in names if f'id="{name}"' not in text], page
    start = (built / "index.html").read_text(encoding="utf-8")
    assert f"unembed {unembed.__version__}" in start and 'href="https://example.org/unembed"' in start
    assert "slate" in start and "site.css" in start and not list(built.rglob("*.py"))


@pytest.mark.slow
def test_the_site_is_not_built_with_a_broken_link(tmp_path) -> None:
    """Of two pages, under the settings of the whole."""
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    few = re.sub(r"^nav:\n( .*\n)+", "nav:\n  - index.md\n  - glossary.md\n", settings, flags=re.MULTILINE)
    assert few.count(".md\n") == 2 < settings.count(".md\n")
    (tmp_path / "mkdocs.yml").write_text(few, encoding="utf-8")
    shutil.copytree(ROOT / "docs/assets", tmp_path / "docs/assets")
    shutil.copy(ROOT / "docs/build.py", tmp_path / "docs")
    (tmp_path / "core").symlink_to(ROOT / "core")
    (tmp_path / "README.md").write_text("# Outside\n")
    (tmp_path / "docs/index.md").write_text("# Start\n\n[words](glossary.md#words)\n")
    page, whole = tmp_path / "docs/glossary.md", "# Glossary\n\n## Words\n"
    page.write_text(whole)
    done = site(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for broken, told in {
        "[a page](nowhere.md)": "page does not exist",
        "[a heading](index.md#nowhere)": "anchor does not exist",
        "[outside](../README.md)": "page does not exist",
        "![a picture](pictures/none.png)": "pictures/none.png does not exist",
    }.items():
        page.write_text(f"{whole}\n{broken}\n")
        done = site(tmp_path)
        assert done.returncode == 1 and told in done.stderr and "glossary.md" in done.stderr, broken
