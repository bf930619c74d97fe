"""Writes docs/licences.md: the licence of each dependency, and the data behind each file of weights and its terms.

`python tools/licences.py` reads pyproject.toml, the metadata of what is installed here, and the model cards.
"""

import re
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/licences.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HEAD = """# Licences

unembed's code is under Apache-2.0. `make licences` writes this page from the metadata of the installed packages and
from the model cards. *Always* is every installation; the others are extras.
"""
# Where a package's metadata has its licence's whole text, or none.
FAMILIES = (("Apache", "Apache-2.0"), ("MIT", "MIT"), ("3-Clause", "BSD-3-Clause"), ("BSD", "BSD"))


def licence(found: Distribution) -> str:
    """A distribution's licence: its SPDX expression, its classifiers, or what its metadata says in a line."""
    if expression := found.metadata.get("License-Expression"):
        return expression
    classifiers = [
        line.rpartition(" :: ")[2] for line in found.metadata.get_all("Classifier") or () if "License ::" in line
    ]
    text = " ".join((found.metadata.get("License") or "").split())
    if 0 < len(text) <= 60 and text.upper() not in ("UNKNOWN", "DUAL LICENSE"):
        return text
    named = [name for name in classifiers if name != "OSI Approved"]
    if named:
        return ", ".join(named)
    return next((name for word, name in FAMILIES if word in text[:200]), "not stated")


def requirements() -> dict[str, set[str]]:
    """The direct dependencies and the extras that name them, "always" for those of every installation."""
    found: dict[str, set[str]] = {}
    groups = {"always": PROJECT["project"]["dependencies"], **PROJECT["project"]["optional-dependencies"]}
    for extra, lines in groups.items():
        for name in (Requirement(line).name for line in lines):
            if name != "unembed":
                found.setdefault(name.lower(), set()).add(extra)
    return found


def brought(direct: dict[str, set[str]]) -> dict[str, set[str]]:
    """What the direct dependencies bring with them, and for which extras."""
    found: dict[str, set[str]] = {}
    for name, extras in direct.items():
        queue, seen = [Requirement(name)], {name}
        while queue:
            parent = queue.pop()
            try:
                needs = distribution(parent.name).requires or []
            except PackageNotFoundError:
                continue
            for one in map(Requirement, needs):
                key = re.sub("[-_.]+", "-", one.name.lower())
                wanted = one.marker is None or any(one.marker.evaluate({"extra": x}) for x in ("", *parent.extras))
                if wanted and key not in seen:
                    seen.add(key)
                    queue.append(one)
                    if key not in direct:
                        found.setdefault(key, set()).update(extras)
    return found


def table(names: dict[str, set[str]]) -> str:
    """One row a package, those that aren't installed here among them."""
    rows = ["| package | licence | needed by the extra |", "|---|---|---|"]
    for name in sorted(names):
        try:
            terms = licence(distribution(name))
        except PackageNotFoundError:
            terms = "not installed where this page was written"
        extras = ["always"] if "always" in names[name] else sorted(names[name])
        rows.append(f"| {name} | {terms.replace('|', '/')} | {', '.join(extras)} |")
    return "\n".join(rows)


def data() -> str:
    """What each model card says about its data."""
    parts = []
    for card in sorted(ROOT.glob("plugins/*/weights/**/README.md")):
        text = re.search(r"^## Data and its terms\n+(.*?)(?=\n## |\n```|\Z)", card.read_text("utf-8"), re.S | re.M)
        if text is None:
            raise SystemExit(f"{card.relative_to(ROOT)} has no section 'Data and its terms'")
        kind = "the embedder " if card.parent.parent.name == "embedders" else ""
        parts.append(f"### {kind}{card.parent.name}\n\n{text[1].strip().removesuffix(':')}")
    rows = dict(
        re.findall(r"^\| (trained on|licence) \| (.*) \|$", (ROOT / "docs/models/tagger.md").read_text("utf-8"), re.M)
    )
    parts.append(
        f"### tagger\n\nTrained on {rows['trained on']}. {rows['licence'].replace('minilm.md', 'models/minilm.md')}."
    )
    return "\n\n".join(parts)


def page() -> str:
    """The page."""
    direct = requirements()
    return "\n".join(
        (
            HEAD,
            "## Dependencies\n",
            table(direct),
            "\n## What they bring with them\n",
            table(brought(direct)),
            "\n## Data behind the weights\n",
            data(),
            "",
        )
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
