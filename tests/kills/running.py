"""Kill work at random moments, let it go on, and compare what is there in the end with work that nobody disturbed.

    python tests/kills/running.py --kills 100

Kills are SIGKILL, SIGTERM and SIGINT by turns. Children are forked, so that no time goes by in importing.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from importlib.metadata import EntryPoint
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).parent))

import torch
from cases import GROUP, Asking, Auditing, Calibrating, Case, Inverting, InvertingOnRay, Service, Training

from unembed import cli
from unembed.inversion import stream
from unembed.inversion.inverter import Inverter
from unembed.registry import discovery

TOY = """
method = "toy"
steps = 60
round_steps = 4
guess_steps = 8
save_every = 8
evaluate_every = 16
[recipe]
hidden = 32
batch = 16
"""
SIGNALS = ("KILL", "TERM", "INT")


def run(case: Case, folder: Path, kill_after: float | None, name: str = "KILL") -> tuple[float, int | None]:
    """Run a case's command in a child; returns its seconds and its exit code, None where it was killed in time."""
    pid = os.fork()
    if pid == 0:
        _child(case, folder)
    began = time.monotonic()
    if kill_after is not None:
        while time.monotonic() - began < kill_after:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                return time.monotonic() - began, os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        victim = case.victim(folder, pid)
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL if victim != pid else getattr(signal, f"SIG{name}"))
        if victim != pid:  # the work goes on without it
            _, status = os.waitpid(pid, 0)
            assert os.waitstatus_to_exitcode(status) == 0, (folder / "said").read_text()
            return time.monotonic() - began, None
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return time.monotonic() - began, None if code in (-9, -15, -2, 130) else code  # killed, before or after it listens


def _child(case: Case, folder: Path) -> None:
    """Be the command line, with a log of the searches that ended."""
    code = 99
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        said = os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.environ["UNEMBED_CACHE"] = str(folder / "cache")
        invert = Inverter.invert

        def counted(self, vectors, **options):
            found = invert(self, vectors, **options)
            time.sleep(case.paced)
            with open(folder / "searched", "a") as file:
                print(len(vectors), file=file, flush=True)
            return found

        Inverter.invert = counted
        code = cli._run(case.words(folder))
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    finally:
        os._exit(code)


def trial(case: Case, folder: Path, draw: random.Random, seconds: float) -> Counter[str]:
    """Begin a case, kill it again and again as it goes on, let it end; returns the kills that came in time."""
    kills: Counter[str] = Counter()
    case.prepare(folder)
    for _ in range(case.kills):
        name = SIGNALS[draw.randrange(len(SIGNALS))]
        _, code = run(case, folder, draw.uniform(0, case.soon * seconds), name)
        if code is None:
            kills[name] += 1
        else:
            assert code == 0, (code, (folder / "said").read_text())
            if case.name.startswith("train"):  # which is over; it would go on from its end
                break
        case.check(folder)
    _, code = run(case, folder, None)
    said = (folder / "said").read_text()
    assert code == 0, said
    case.spent(folder, kills)
    return kills


def kill(cases: list[Case], count: int, seed: int, folder: Path, say=print) -> dict[str, Counter[str]]:
    """At least `count` kills over the cases by turns; raises AssertionError where something was lost or came twice."""
    draw = random.Random(seed)
    whole, seconds = {}, {}
    for case in cases:
        place = folder / f"{cases.index(case)}-whole"
        place.mkdir()
        case.prepare(place)
        seconds[case.name], code = run(case, place, None)
        assert code == 0, (place / "said").read_text()
        whole[case.name] = case.result(place)
    found: dict[str, Counter[str]] = {case.name: Counter() for case in cases}
    turns = [case for _ in range(3) for case in cases if not case.slow] + [case for case in cases if case.slow]
    number = 0
    while sum(kills.total() for kills in found.values()) < count:
        case = turns[number % len(turns)]
        place = folder / f"{number}"
        place.mkdir()
        print(f"{time.strftime('%H:%M:%S')} {case.name}", file=sys.stderr)
        found[case.name] += trial(case, place, draw, seconds[case.name])
        assert case.result(place) == whole[case.name], f"{case.name}: another result in {place}"
        number += 1
    for name, kills in found.items():
        say(f"{name:<24}{kills.total():>4} kills  {dict(kills)}")
    return found


def toy_cases(folder: Path) -> list[Case]:
    """The cases that need nothing but the toy."""
    stream.CPU_AT_ONCE = GROUP
    training = Training("toy", lambda place: TOY)
    (folder / "toy").mkdir()
    (folder / "toy" / "c.toml").write_text(f'output = "{folder}/toy/run"\n{TOY}'.replace("steps = 60", "steps = 300"))
    assert cli._run(["train", str(folder / "toy" / "c.toml"), "--set", "save_every=999"]) == 0
    return [Inverting("jsonl"), Inverting("parquet"), training, Calibrating(folder / "toy" / "run" / "checkpoint")]


def bulk_cases(folder: Path) -> list[Case]:
    """Both engines."""
    stream.CPU_AT_ONCE = GROUP
    return [Inverting("jsonl"), Inverting("parquet"), InvertingOnRay()]


def text_cases(folder: Path) -> list[Case]:
    """Training a small text network, and inverting through an API that asks it."""
    from unembed_text.embedders.sentence_transformers import minilm
    from unembed_text.methods.closed.checkpoint import build_network, save_network

    torch.manual_seed(0)
    t5 = {
        "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 4,
        "vocab_size": 30522, "feed_forward_proj": "gated-gelu", "dropout_rate": 0.1,
    }  # fmt: skip
    special = {"pad": 0, "start": 101, "end": 102}
    config = {"t5": t5, "dimension": 384, "positions": 2, "hidden": 16, "special": special, "length": 8}
    place = folder / "small"
    save_network(
        place, build_network(config), minilm(), name="small", embedder_name="minilm", config=config, training={}
    )
    asked = folder / "asked"
    os.system(f"cp -r {place} {asked}")
    manifest = json.loads((asked / "manifest.json").read_text())
    manifest["embedder"]["fingerprint"] = manifest["self_test"] = None  # another model answers
    (asked / "manifest.json").write_text(json.dumps(manifest))
    texts = folder / "texts.txt"
    texts.write_text(
        "the cat sat on the mat, it was warm there\none two three four five six seven eight\nwhy not?\n" * 4
    )

    def recipe(_: Path) -> str:
        return (
            'method = "closed"\nsteps = 8\nround_steps = 2\nguess_steps = 2\nsave_every = 2\nevaluate_every = 8\n'
            f'warmup = 1\ndevice = "cpu"\nevaluate_beam = 1\nevaluate_steps = 1\n[recipe]\nname = "small"\n'
            f'embedder = "minilm"\nstart = "{place}"\ntrain = ["{texts}"]\nvalidation = ["{texts}"]\nlongest = 8\n'
            "shares = [1, 1]\nbatch_tokens = 32\nheld_out = 2\n"
        )

    return [Training("text", recipe, slow=True), Asking(asked, Service(0.02))]


def image_cases(folder: Path) -> list[Case]:
    """Training a small painter on a few pictures."""
    import numpy as np
    import torchmetrics.image  # noqa: F401  so that no child needs the seconds
    from PIL import Image

    from unembed import load_embedder
    from unembed.config import read_toml

    draw = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    for number in range(8):
        Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"pictures/{number}.png")
    table = read_toml(Path(__file__).parents[1] / "image" / "toy.toml")["recipe"]
    table |= {"embedder": "clip-tiny", "train": [f"{folder}/pictures"], "validation": [f"{folder}/pictures"]}
    load_embedder("clip-tiny", device="cpu")
    table |= {"batch": 2, "held_out": 2}

    def recipe(_: Path) -> str:
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
        return (
            'method = "flow"\nsteps = 4\nround_steps = 2\nguess_steps = 2\nsave_every = 2\nevaluate_every = 4\n'
            f'warmup = 1\ndevice = "cpu"\nevaluate_beam = 1\nevaluate_steps = 1\n[recipe]\n{lines}\n'
        )

    return [Training("image", recipe, slow=True)]


def audit_cases(_: Path) -> list[Case]:
    """An audit of 2,000 records, whose toy texts have no names to tag."""
    from unembed_audit.commands import opening

    opening.open_tagger = lambda device: None
    return [Auditing(2000)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("toy", "audit", "bulk", "text", "image"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    real = tuple(discovery.entry_points(group=discovery.GROUP))
    toy = EntryPoint(name="toy", value="unembed.testing.toy", group="unembed")
    discovery.entry_points = lambda group: (*real, toy)
    began = time.monotonic()
    makers = {
        "toy": toy_cases, "audit": audit_cases, "bulk": bulk_cases, "text": text_cases, "image": image_cases
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = [case for kind, make in makers.items() if given.only in (None, kind) for case in make(folder)]
        found = kill(cases, given.kills, given.seed, folder)
    total = sum(kills.total() for kills in found.values())
    print(f"{total} kills in {time.monotonic() - began:.0f} s: nothing lost, nothing twice")


if __name__ == "__main__":
    main()
