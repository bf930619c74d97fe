"""What several tests share: the toy modality, installed as a stranger's plugin would be, and clean environments."""

import subprocess
import sys
import venv
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from unembed.registry import discovery


@pytest.fixture
def install(monkeypatch):
    """Install entry points beside the real ones: `install(EntryPoint(…), …)`."""
    real = tuple(discovery.entry_points(group=discovery.GROUP))

    def add(*points: EntryPoint) -> None:
        monkeypatch.setattr(discovery, "entry_points", lambda group: (*real, *points))

    return add


@pytest.fixture
def toy_plugin(install) -> None:
    install(EntryPoint(name="toy", value="unembed.testing.toy", group="unembed"))


class Environment:
    """A virtual environment of its own, which borrows the libraries of this one: nothing heavy is installed twice."""

    def __init__(self, folder: Path, borrowed: list[str] = sys.path) -> None:
        venv.create(folder, with_pip=False)
        self.python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        self.site = Path(self.run("-c", "import sys; print(sys.path[-1])").strip())
        (self.site / "borrowed.pth").write_text("\n".join(path for path in borrowed if path and Path(path).is_dir()))

    def run(self, *words: object, cwd: Path | None = None, code: int = 0) -> str:
        """Run this environment's Python and return what it printed, errors too where it fails as `code` says."""
        done = subprocess.run([self.python, "-P", *map(str, words)], capture_output=True, text=True, cwd=cwd)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr if code else done.stdout

    def unembed(self, *words: object, cwd: Path | None = None, code: int = 0) -> str:
        """Run the command line."""
        return self.run("-c", "from unembed.cli import main; main()", *words, cwd=cwd, code=code)

    def borrow(self, folder: Path, package: str, plugins: dict[str, str]) -> None:
        """Make a package usable from its folder, with the entry points of its plugins, without building it."""
        (self.site / f"{package}.pth").write_text(str(folder))
        about = self.site / f"{package}-0.1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1.0\n")
        points = "\n".join(f"{name} = {module}" for name, module in plugins.items())
        (about / "entry_points.txt").write_text(f"[unembed]\n{points}\n")

    def install(self, folder: Path) -> None:
        """Install a package from its folder, as it would be from its own repository."""
        offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
        self.run("-m", "pip", "install", "--quiet", *offline, folder)


@pytest.fixture(scope="session")
def environment_of() -> type[Environment]:
    """For modules that set one up once: `environment_of(folder, borrowed)`."""
    return Environment


@pytest.fixture
def environment(tmp_path) -> Environment:
    return Environment(tmp_path / "environment")
