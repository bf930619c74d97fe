"""What several tests share: the toy modality, as a stranger's plugin is installed; fresh processes; environments."""

import io
import json
import logging
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import traceback
import venv
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import IO, Any, NoReturn

import pytest

from unembed.registry import discovery


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that several processes end together."""
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: item.path not in slow)


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


# Importing torch takes a new process longer than most of what is tested in one.
FORKING = """
import gc, importlib, json, os, runpy, socket, sys, types
import numpy, torch

gc.freeze()  # a fork that ends looks for no cycles among what was there before it
asked = socket.socket(fileno=int(sys.argv[1]))
while True:
    message, places, _, _ = socket.recv_fds(asked, 1 << 20, 3)
    if not message:
        os._exit(0)
    if not places:  # how an earlier one is doing
        ended, status = os.waitpid(*map(int, message.split()))
        asked.send(b"%d %d" % (ended, os.waitstatus_to_exitcode(status)))
        continue
    child = os.fork()
    if child == 0:
        break
    for place in places:
        os.close(place)
    asked.send(b"%d" % child)
asked.close()
for own, place in enumerate(places):
    os.dup2(place, own)
    os.close(place)
words, folder, environment = json.loads(message)
os.environ.clear()
os.environ.update(environment)
os.chdir(folder)
importlib.invalidate_caches()
sys.argv = words[words[0] == "-m" :]
if words[0] == "-m":
    runpy.run_module(words[1], run_name="__main__", alter_sys=True)
elif words[0] == "-c":
    sys.argv = ["-c", *words[2:]]
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(words[1], "<string>", "exec"), vars(main))
else:
    runpy.run_path(words[0], run_name="__main__")
"""


class Running:
    """A process of `Forking`, used as one of `subprocess.Popen`'s with texts in its pipes."""

    def __init__(self, asking: socket.socket, pid: int, stdin: int, stdout: int, stderr: IO[bytes]) -> None:
        self._asking, self._stderr = asking, stderr
        self.pid, self.returncode = pid, None
        self.stdin, self.stdout = os.fdopen(stdin, "w"), os.fdopen(stdout)

    def poll(self) -> int | None:
        return self._ask(os.WNOHANG)

    def wait(self) -> int | None:
        return self._ask(0)

    def _ask(self, how: int) -> int | None:
        if self.returncode is None:
            self._asking.send(b"%d %d" % (self.pid, how))
            ended, code = map(int, self._asking.recv(64).split())
            self.returncode = code if ended else None
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def communicate(self) -> tuple[str, str]:
        with self.stdin, self.stdout:
            self.stdin.close()
            said = self.stdout.read()
        self.wait()
        return said, _content(self._stderr)


class Forking:
    """A Python that has imported torch and NumPy, and nothing of ours: each run is a fork of it, and as good as fresh.

    What must show that torch isn't needed, or is loaded under other variables, needs a process of its own.
    """

    def __init__(self, python: Path | str) -> None:
        self._asking, other = socket.socketpair()
        self._asking.settimeout(600)
        with other:
            os.set_inheritable(other.fileno(), True)
            self._process = subprocess.Popen(
                [python, "-P", "-c", FORKING, str(other.fileno())], pass_fds=[other.fileno()], stdin=subprocess.DEVNULL
            )

    def start(self, *words: object, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Running:
        """Begin what `python WORDS` does: `-c CODE`, `-m MODULE` or a file, then arguments."""
        message = json.dumps([list(map(str, words)), str(cwd or Path.cwd()), dict(os.environ if env is None else env)])
        (read, stdin), (stdout, write), stderr = os.pipe(), os.pipe(), _file()
        socket.send_fds(self._asking, [message.encode()], [read, write, stderr.fileno()])
        pid = int(self._asking.recv(64))
        os.close(read)
        os.close(write)
        return Running(self._asking, pid, stdin, stdout, stderr)

    def run(self, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """What `start` began, once it has ended."""
        running = self.start(*words, **options)
        said, errors = running.communicate()
        return subprocess.CompletedProcess(list(map(str, words)), running.wait(), said, errors)

    def close(self) -> None:
        self._asking.close()
        self._process.wait()


@pytest.fixture(scope="session")
def forking() -> Iterator[Forking]:
    """This environment's Python, with torch imported: `forking.run("-c", code, …)`."""
    made = Forking(sys.executable)
    yield made
    made.close()


class Forked:
    """A program, a file or code, in a copy of this process: whatever is imported here needn't be again."""

    def __init__(self, program: Path | str, *words: object) -> None:
        self._out, self._err, self._code = _file(), _file(), None
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # else they warn of a fork
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads, Python's and Lance's, which the copy doesn't need
            self.pid = os.fork()
        if self.pid == 0:
            self._be(program, list(map(str, words)))

    def _be(self, program: Path | str, words: list[str]) -> NoReturn:
        import torch

        code: object = 1
        try:
            torch.set_num_threads(1)  # there are no others after a fork
            os.dup2(self._out.fileno(), 1)
            os.dup2(self._err.fileno(), 2)
            sys.stdout, sys.stderr = (
                io.TextIOWrapper(io.FileIO(own, "w"), "utf-8", write_through=True) for own in (1, 2)
            )
            logging.root.handlers.clear()
            sys.argv = [str(program) if isinstance(program, Path) else "-c", *words]
            warnings.resetwarnings()
            for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
                warnings.simplefilter("ignore", category)
            if isinstance(program, Path):
                runpy.run_path(str(program), run_name="__main__")
            else:
                exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
            code = 0
        except SystemExit as end:
            code = end.code
            if isinstance(code, str):
                print(code, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else int(code is not None))

    def done(self) -> bool:
        if self._code is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if ended else None
        return self._code is not None

    def wait(self) -> subprocess.CompletedProcess[str]:
        """Its exit code and what it wrote, once it has ended."""
        if not self.done():
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return subprocess.CompletedProcess([], self._code, *map(_content, (self._out, self._err)))


@pytest.fixture(scope="session")
def forked() -> type[Forked]:
    """`forked(program, …).wait()` runs a program in a copy of this process."""
    return Forked


def _file() -> IO[bytes]:
    """For what a program writes; `_content` closes it."""
    return tempfile.TemporaryFile()


def _content(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode()


class Environment:
    """A virtual environment of its own, which borrows the libraries of this one: nothing heavy is installed twice."""

    def __init__(self, folder: Path, borrowed: list[str] = sys.path) -> None:
        venv.create(folder, with_pip=False)
        self.python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        self._forking: Forking | None = None
        found = subprocess.run(
            [self.python, "-P", "-c", "import sys; print(sys.path[-1])"], capture_output=True, text=True
        )
        self.site = Path(found.stdout.strip())
        (self.site / "borrowed.pth").write_text("\n".join(path for path in borrowed if path and Path(path).is_dir()))

    def run(self, *words: object, cwd: Path | None = None, code: int = 0) -> str:
        """Run this environment's Python and return what it printed, errors too where it fails as `code` says."""
        if self._forking is None:
            self._forking = Forking(self.python)
        done = self._forking.run(*words, cwd=cwd)
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
        self.pip("--no-deps", "--no-build-isolation", "--no-index", folder)

    def pip(self, *words: object) -> None:
        """Run `pip install`."""
        quietly = ("--quiet", "--disable-pip-version-check")
        command = [self.python, "-P", "-m", "pip", "install", *quietly, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def close(self) -> None:
        if self._forking is not None:
            self._forking.close()


@pytest.fixture(scope="module")
def environment_of() -> Iterator[Callable[..., Environment]]:
    """For modules that set one up once: `environment_of(folder, borrowed)`."""
    made = []

    def make(*given: Any) -> Environment:
        made.append(Environment(*given))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def environment(environment_of, tmp_path) -> Environment:
    return environment_of(tmp_path / "environment")
