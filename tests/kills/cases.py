"""What is killed, each in a folder of its own: how it begins, how it goes on, and what must be there in the end."""

import hashlib
import http.server
import json
import os
import random
import shutil
import threading
import time
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

GROUP = 4  # vectors searched together
draw = random.Random(0)


class Case(ABC):
    """One kind of work. `kept` is where it keeps what it does, `slack` what a kill may cost it."""

    name: str
    slow = False  # so that it is tried less often
    kills = 5  # at most, of one piece of work
    soon = 1.0  # a kill comes within this part of the time that the whole takes
    paced = 0.0  # seconds that each search is made to take, so that kills come between them

    @abstractmethod
    def prepare(self, folder: Path) -> None:
        """Lay down what the work reads."""

    @abstractmethod
    def words(self, folder: Path) -> list[str]:
        """The command that begins the work, or goes on with it."""

    @abstractmethod
    def result(self, folder: Path) -> Any:
        """What the finished work left: equal, whatever happened on the way."""

    def victim(self, folder: Path, pid: int) -> int:
        """Whom to kill: the command's process, or one that works for it."""
        return pid

    def check(self, folder: Path) -> None:
        """Raise AssertionError where a kill left what it mustn't."""
        assert (folder / "said").exists()

    def spent(self, folder: Path, kills: Counter[str]) -> None:
        """Raise AssertionError where work was done twice."""
        assert (folder / "said").exists()


class Inverting(Case):
    """`invert --out` of the toy's vectors."""

    def __init__(self, ending: str, count: int = 120) -> None:
        self.name, self.ending, self.count = f"invert --out .{ending}", ending, count
        self.paced = 0.01

    def prepare(self, folder: Path) -> None:
        from unembed.testing.toy import toy_inverter, words

        np.save(folder / "v.npy", toy_inverter().embed(words(self.count)).numpy())

    def words(self, folder: Path) -> list[str]:
        out = folder / f"r.{self.ending}"
        vectors = str(folder / "v.npy")
        return ["invert", "--vectors", vectors, "--inverter", "toy", "--effort", "low", "--out", str(out)]

    def result(self, folder: Path) -> Any:
        if self.ending == "parquet":
            import pyarrow.parquet as pq

            assert not (folder / "r.parquet.jsonl").exists()
            return pq.read_table(folder / "r.parquet").to_pylist()
        return (folder / "r.jsonl").read_text()

    def check(self, folder: Path) -> None:
        path = folder / ("r.jsonl" if self.ending == "jsonl" else "r.parquet.jsonl")
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        assert [json.loads(line)["index"] for line in lines] == list(range(len(lines)))

    def spent(self, folder: Path, kills: Counter[str]) -> None:
        searched = sum(map(int, (folder / "searched").read_text().split()))
        assert self.count <= searched <= self.count + GROUP * kills.total(), searched


class InvertingOnRay(Inverting):
    """`invert --engine ray` of the toy's vectors: the command is killed, or one of its two workers."""

    name = "invert --engine ray"

    def __init__(self, count: int = 80) -> None:
        self.count = count

    def prepare(self, folder: Path) -> None:
        super().prepare(folder)
        # Workers are processes of Ray's; they get these from it.
        os.environ |= {
            "PYTHONPATH": str(Path(__file__).parent / "paced"), "PACED_SECONDS": "0.2", "RAY_ADDRESS": "local",
            "PACED_LOG": str(folder / "searches"),
        }  # fmt: skip

    def words(self, folder: Path) -> list[str]:
        words = ["invert", "--vectors", str(folder / "v.npy"), "--inverter", "toy", "--effort", "low"]
        return [*words, "--engine", "ray", "--workers", "2", "--device", "cpu", "--out", str(folder / "r")]

    def victim(self, folder: Path, pid: int) -> int:
        workers = [worker for worker, _ in self._searches(folder) if Path(f"/proc/{worker}").exists()]
        return draw.choice(workers) if workers and draw.random() < 0.5 else pid

    def _searches(self, folder: Path) -> list[tuple[int, int]]:
        path = folder / "searches"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(pid), int(count)) for pid, count in map(str.split, lines)]

    def result(self, folder: Path) -> Any:
        import pyarrow.parquet as pq

        return [row for part in sorted((folder / "r").glob("*.parquet")) for row in pq.read_table(part).to_pylist()]

    def check(self, folder: Path) -> None:
        found = sorted(row["index"] for row in self.result(folder))
        assert len(found) == len(set(found)) and len(found) % GROUP == 0

    def spent(self, folder: Path, kills: Counter[str]) -> None:
        searched = sum(count for _, count in self._searches(folder))
        # Blocks that were in work, and those that waited to be written.
        assert self.count <= searched <= self.count + 5 * GROUP * kills.total(), searched


class Calibrating(Case):
    """`calibrate` of a toy checkpoint."""

    name = "calibrate"

    def __init__(self, trained: Path) -> None:
        self.trained = trained

    def prepare(self, folder: Path) -> None:
        from unembed.testing.toy import words

        shutil.copytree(self.trained, folder / "checkpoint")
        (folder / "words.txt").write_text("\n".join(words(150, seed=3)))

    def words(self, folder: Path) -> list[str]:
        data = str(folder / "words.txt")
        return ["calibrate", str(folder / "checkpoint"), "--data", data, "--samples", "100", "--effort", "low"]

    def result(self, folder: Path) -> Any:
        found = sorted(path.name for path in (folder / "checkpoint").iterdir() if not path.name.endswith(".tmp"))
        return json.loads((folder / "checkpoint" / "manifest.json").read_text()), found

    def check(self, folder: Path) -> None:
        manifest = json.loads((folder / "checkpoint" / "manifest.json").read_text())
        assert manifest["name"] == "toy"


class Training(Case):
    """`train`, then `--resume`: of the toy, of a small text network, of a small painter."""

    def __init__(self, name: str, config: Callable[[Path], str], *, slow: bool = False) -> None:
        self.name, self._config, self.slow = f"train {name}", config, slow

    def prepare(self, folder: Path) -> None:
        (folder / "c.toml").write_text(f'output = "{folder}/run"\n{self._config(folder)}')

    def words(self, folder: Path) -> list[str]:
        resume = ["--resume"] if (folder / "run" / "state.pt").exists() else []
        return ["train", str(folder / "c.toml"), *resume]

    def result(self, folder: Path) -> Any:
        state = torch.load(folder / "run" / "state.pt", weights_only=True)
        weights = {name: digest(value) for name, value in state["network"].items()}
        checkpoint = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (folder / "run" / "checkpoint").glob("*.safetensors")
        }
        return state["step"], weights, checkpoint, self._log(folder)

    def _log(self, folder: Path) -> list[Any]:
        lines = (folder / "run" / "log.jsonl").read_text().splitlines()
        return [(row["kind"], row["step"]) for row in map(json.loads, lines) if row["kind"] in ("loss", "evaluated")]

    def check(self, folder: Path) -> None:
        assert not (folder / "run" / "state.tmp").exists()


def digest(value: Any) -> str:
    """A fingerprint of a tensor or number."""
    content = value.numpy().tobytes() if isinstance(value, torch.Tensor) else repr(value).encode()
    return hashlib.sha256(content).hexdigest()


class Service:
    """A service on the loopback that embeds by hashing, and counts the texts that it is asked for."""

    def __init__(self, delay: float) -> None:
        asked, lock = Counter[str](), threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *words: Any) -> None:
                pass

            def do_POST(self) -> None:
                texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
                with lock:
                    asked.update(f"{self.path} {text}" for text in texts)
                time.sleep(delay)
                rows = [{"index": place, "embedding": vector(text)} for place, text in enumerate(texts)]
                body = json.dumps({"data": rows, "usage": {"total_tokens": len(texts)}}).encode()
                with suppress(OSError):  # whoever asked was killed
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

        self.asked = asked
        listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        listener.daemon_threads = True
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{listener.server_port}"


def vector(text: str) -> list[float]:
    """A random vector that a text always gets."""
    found: list[float] = torch.randn(384, generator=torch.Generator().manual_seed(zlib.crc32(text.encode()))).tolist()
    return found


class Asking(Case):
    """`invert` through an embedding API: every answer is paid once, but for those that a SIGKILL loses on their way."""

    name = "invert through an API"

    def __init__(self, checkpoint: Path, service: Service) -> None:
        self.checkpoint, self.service = checkpoint, service

    def prepare(self, folder: Path) -> None:
        vectors = np.array([vector(f"target {number}") for number in range(6)], np.float32)
        np.save(folder / "v.npy", vectors)

    def words(self, folder: Path) -> list[str]:
        name = f"{self.service.url}/{folder.name}/v1?dimensions=384&batch=4#hash"
        words = ["invert", "--vectors", str(folder / "v.npy"), "--inverter", str(self.checkpoint), "--embedder", name]
        return [*words, "--device", "cpu", "--steps", "2", "--beam", "2", "--out", str(folder / "r.jsonl")]

    def result(self, folder: Path) -> Any:
        rows = [json.loads(line) for line in (folder / "r.jsonl").read_text().splitlines()]
        return [{key: value for key, value in row.items() if key != "run"} for row in rows]  # each has its own address

    def spent(self, folder: Path, kills: Counter[str]) -> None:
        own = [count for text, count in self.service.asked.items() if text.startswith(f"/{folder.name}/")]
        twice = sum(count - 1 for count in own)
        assert own and twice <= 4 * 8 * kills["KILL"], (twice, kills)


class Auditing(Case):
    """`audit --all` of the toy's vectors, with their texts beside half of them: rows one by one, then a report."""

    name = "audit"
    kills, soon = 50, 0.06

    def __init__(self, count: int) -> None:
        self.count = count

    def prepare(self, folder: Path) -> None:
        from unembed.testing.toy import toy_inverter, words

        texts = words(self.count)
        vectors = toy_inverter().embed(texts).tolist()
        with open(folder / "store.jsonl", "w") as file:
            for number, (text, one) in enumerate(zip(texts, vectors, strict=True)):
                beside = {"text": text} if number % 2 else {}
                file.write(json.dumps({"id": f"rec-{number}", "embedding": one, **beside}) + "\n")

    def words(self, folder: Path) -> list[str]:
        words = ["audit", str(folder / "store.jsonl"), "--all", "--inverter", "toy", "--effort", "low"]
        return [*words, "--device", "cpu", "--show-text", "--out", str(folder / "report")]

    def result(self, folder: Path) -> Any:
        report = json.loads((folder / "report" / "report.json").read_text())
        for changing in ("place", "seconds", "when"):
            del report["conditions"][changing]
        assert report["complete"] and (folder / "report" / "report.html").exists()
        return self._rows(folder), report

    def check(self, folder: Path) -> None:
        rows = self._rows(folder)
        assert [row["id"] for row in rows] == [f"rec-{number}" for number in range(len(rows))]

    def spent(self, folder: Path, kills: Counter[str]) -> None:
        assert len(self._rows(folder)) == self.count
        searched = sum(map(int, (folder / "searched").read_text().split()))
        assert self.count <= searched <= self.count + GROUP * kills.total(), searched

    def _rows(self, folder: Path) -> list[Any]:
        path = folder / "report" / "records.jsonl"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]
