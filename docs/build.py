"""Builds the site into build/site, from the folder that it is called in: `python docs/build.py`.

Exits with the builder's code, which isn't 0 after any warning: a dead link, a heading that isn't there, a link out of
the docs. The version stands beside the name; the link to the repository is the clone's own, where it has one.
"""

import os
import re
import subprocess
import sys

import unembed


def repository() -> str:
    """The web address of the clone's `origin`, or "" where that is a path or there is none."""
    found = subprocess.run(["git", "remote", "get-url", "origin"], capture_output=True, text=True)
    address = re.sub(r"^git@([^:]+):", r"https://\1/", found.stdout.strip()).removesuffix(".git")
    return address if address.startswith("https://") else ""


def main() -> int:
    """Build, and return the exit code."""
    told = {"SITE_NAME": f"unembed {unembed.__version__}", "SITE_REPOSITORY": repository()}
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", "mkdocs.yml"]
    return subprocess.run(command, env={**told, **os.environ}).returncode


if __name__ == "__main__":
    sys.exit(main())
