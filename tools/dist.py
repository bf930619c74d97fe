"""Build the distributions of a release: `python tools/dist.py [OUT]`, as `make dist` does; OUT is `dist`.

One wheel holds the code. The weights, as `[tool.unembed.weights]` in pyproject.toml lists them, become distributions of
their own, each named by an entry point, and the extras of the code's wheel require them. In a clone nothing of that
matters: the weights are found where they lie, and no extra asks an index for them.
"""

import copy
import sys
import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
CODE, WEIGHTS = 2_000_000, 100_000_000  # the largest wheels allowed, in bytes


def code(project: dict[str, Any]) -> dict[str, Any]:
    """The code's own project: as in pyproject.toml, without weights, its extras requiring them."""
    project = copy.deepcopy(project)
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    wheel["exclude"] = []
    for name, weights in project["tool"]["unembed"]["weights"].items():
        project["project"]["optional-dependencies"][weights["extra"]].append(f"unembed-{name}~={weights['version']}")
        wheel["exclude"] += [f"/{path}" for path in weights["files"]]
    return project


def alone(name: str, weights: dict[str, Any], project: dict[str, Any]) -> dict[str, Any]:
    """The project of one distribution of weights: a package of data, and the entry point by which it is found."""
    package = f"unembed_{name.replace('-', '_')}"
    return {
        "project": {
            "name": f"unembed-{name}",
            "version": weights["version"],
            "description": weights["summary"],
            "readme": weights["card"],
            "license": "LicenseRef-see-model-card",
            "license-files": [],
            "requires-python": project["project"]["requires-python"],
            "entry-points": {"unembed.weights": {name: package}},
        },
        "tool": {
            "hatch": {
                "build": {
                    "targets": {
                        "wheel": {
                            "bypass-selection": True,
                            "force-include": {path: f"{package}/{inside}" for path, inside in weights["files"].items()},
                        }
                    }
                }
            }
        },
    }


def build(config: dict[str, Any], out: Path, limit: int) -> Path:
    """Build one wheel into `out`; a wheel over `limit` bytes ends the program."""
    (built,) = map(Path, WheelBuilder(str(ROOT), config=config).build(directory=str(out), versions=["standard"]))
    size = built.stat().st_size
    print(f"{size / 1e6:7.2f} MB  {built.name}", flush=True)
    if size > limit:
        sys.exit(f"{built.name} has {size:,} bytes, more than the {limit:,} allowed")
    return built


def main(out: Path) -> None:
    """Build every distribution into `out`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    out.mkdir(parents=True, exist_ok=True)
    build(code(project), out, CODE)
    for name, weights in project["tool"]["unembed"]["weights"].items():
        build(alone(name, weights, project), out, WEIGHTS)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "dist"))
