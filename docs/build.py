"""Builds the site into build/site, from the folder that it is called in: `python docs/build.py`.

Exits with the builder's code, which isn't 0 after any warning: a dead link, a heading that isn't there, a link out of
the docs. Missing pictures are looked for here. The version stands beside the name; the link to the repository is the
clone's own, where it has one.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import unembed


def repository() -> str:
    """The web address of the clone's `origin`, or "" where that is a path or there is none."""
    found = subprocess.run(["git", "remote", "get-url", "origin"], capture_output=True, text=True)
    address = re.sub(r"^git@([^:]+):", r"https://\1/", found.stdout.strip()).removesuffix(".git")
    return address if address.startswith("https://") else ""


def missing_pictures() -> list[str]:
    """The pictures that a page shows and that aren't there, of which the builder says nothing."""
    shown = [
        (page, target)
        for page in sorted(Path("docs").rglob("*.md"))
        for target in re.findall(r"!\[[^]]*\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    ]
    return [f"{page}: {target} does not exist" for page, target in shown if not (page.parent / target).is_file()]


def main() -> int:
    """Build, and return the exit code."""
    if missing := missing_pictures():
        print(*missing, sep="\n", file=sys.stderr)
        return 1
    told = {"SITE_NAME": f"unembed {unembed.__version__}", "SITE_REPOSITORY": repository()}
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", "mkdocs.yml"]
    return subprocess.run(command, env={**told, **os.environ}).returncode


if __name__ == "__main__":
    sys.exit(main())
