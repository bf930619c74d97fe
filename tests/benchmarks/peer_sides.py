"""What each side of `peer.py` does, in a process of its own: `peer_sides.py SIDE FOLDER`.

The folder holds `job.json`; what was found goes to `found.json` beside it.
"""

import itertools
import json
import signal
import statistics
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

# Of the peer's imports, what only training, metrics and other embedders call.
STUBS = ("datasets", "evaluate", "nltk", "openai", "pandas", "scipy", "scipy.stats", "sentence_transformers")
# Of this environment, what its transformers would pick up and is too new for.
HIDDEN = ("peft", "sklearn", "tensorboard", "torchvision", "wandb")

Invert = Callable[[int, int], tuple[list[str], float]]  # steps and beam → texts and the mean of the rounds made


class Stub(types.ModuleType):
    """A module that has every name, each of them an empty class."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def run_peer(job: dict[str, Any]) -> dict[str, Any]:
    """vec2text's side, over its own packages."""
    sys.modules.update(dict.fromkeys(HIDDEN))  # None: an import fails
    for name in STUBS:
        sys.modules[name] = Stub(name)
        sys.modules[name].__spec__ = ModuleSpec(name, None)
    vars(sys.modules["evaluate"])["load"] = lambda *args, **kwargs: None
    folder, device = Path(job["folder"]), job["device"]
    import torch
    import transformers

    auto = transformers.AutoModelForSeq2SeqLM
    encoder, tokenizer = transformers.T5EncoderModel, transformers.PreTrainedTokenizerFast
    auto.from_pretrained = lambda *args, **kwargs: transformers.T5ForConditionalGeneration(
        transformers.T5Config.from_pretrained(folder / "t5")
    )
    transformers.AutoModel.from_pretrained = lambda *args, **kwargs: encoder(
        transformers.T5Config.from_pretrained(folder / "embedder")
    )
    transformers.AutoTokenizer.from_pretrained = lambda *args, **kwargs: tokenizer.from_pretrained(folder / "t5")
    import vec2text

    set_up(job)
    kind = torch.bfloat16 if job["precision"] == "bfloat16" else torch.float32
    inversion = vec2text.models.InversionModel.from_pretrained(folder / "inversion", torch_dtype=torch.float32)
    corrector = vec2text.models.CorrectorEncoderModel.from_pretrained(folder / "corrector", torch_dtype=torch.float32)
    for model in (inversion, corrector):
        model.encoder_decoder.tie_weights()
        model.to(device=device, dtype=kind).eval()
    trainer = vec2text.load_corrector(inversion, corrector)
    vectors = torch.tensor(job["vectors"], device=device, dtype=kind)
    batch = job["batch"]

    def invert(steps: int, beam: int) -> tuple[list[str], float]:
        nonlocal batch
        found: list[str] = []
        while len(found) < len(vectors):
            part = vectors[len(found) : len(found) + batch]
            try:
                with torch.autocast(device, torch.bfloat16, enabled=job["precision"] == "autocast"), torch.no_grad():
                    found += vec2text.invert_embeddings(
                        part, trainer, num_steps=steps or None, sequence_beam_width=beam if beam > 1 else 0
                    )
            except torch.OutOfMemoryError:
                if batch == 1:
                    raise
                batch //= 2
                torch.cuda.empty_cache()
        return found, steps

    return timed(job, invert)


def run_ours(job: dict[str, Any]) -> dict[str, Any]:
    """Our side as shipped, with the checkpoint already imported."""
    import torch

    import unembed

    set_up(job)
    inverter = unembed.load(job["imported"], device=job["device"])
    vectors = torch.tensor(job["vectors"])

    def invert(steps: int, beam: int) -> tuple[list[str], float]:
        found = inverter.invert(vectors, steps=steps, beam=beam, chunk_size=job["batch"] * beam)
        return found.objects, found.steps.float().mean().item()

    return timed(job, invert)


def run_same(job: dict[str, Any]) -> dict[str, Any]:
    """Our side with no work spared: a mark on every signal keeps any from being known, and no text leaves."""
    import torch
    from torch import Tensor

    import unembed

    set_up(job)
    inverter = unembed.load(job["imported"], device=job["device"])
    parts, embedder = inverter.parts, inverter.embedder
    if job["device"] == "cuda":
        embedder.texts = embedder.texts.halved(torch.bfloat16)
    vectors = torch.tensor(job["vectors"], device=job["device"])
    serial = itertools.count()

    def marked(signals: Tensor) -> Tensor:
        marks = torch.arange(signals[..., 0].numel(), device=signals.device).view(*signals.shape[:2], 1)
        batch = torch.full_like(marks, next(serial))
        return torch.cat([signals, marks, batch], -1)

    def invert(steps: int, beam: int) -> tuple[list[str], float]:
        found = unembed.search(
            vectors,
            embed=lambda signals: embedder.embed(signals[:, :-2]),
            parts={
                "guess": lambda target, count, draws: marked(
                    parts["draft" if steps else "guess"](target, count, draws)
                ),
                "correct": lambda target, signals, embedding, count, draws: marked(
                    parts["correct"](target, signals[:, :-2], embedding, count, draws)
                ),
            },
            effort=unembed.Effort(beam=beam, limits=unembed.Limits(steps=steps, patience=steps + 2, tolerance=-10.0)),
            similarity=embedder.similarity,
            chunk_size=job["batch"] * beam,
        )
        texts = inverter.codec.decode(found.signals[:, :-2])
        assert set(found.steps.tolist()) == {steps}
        return texts, steps

    return timed(job, invert)


def set_up(job: dict[str, Any]) -> None:
    """What is the same on all sides."""
    import torch

    torch.set_num_threads(job["threads"])
    torch.set_float32_matmul_precision(job["matmul"])


SIDES = {"peer": run_peer, "same": run_same, "ours": run_ours}


def timed(job: dict[str, Any], invert: Invert) -> dict[str, Any]:
    """Seconds (of `repeat` runs the median), texts, rounds and peak memory of every setting, after a warm-up.

    There are no texts where it takes too long.
    """
    rows = {}
    for name, (steps, beam) in job["settings"].items():
        row: dict[str, Any] = {"seconds": job["limit"], "texts": None, "steps": None}
        try:
            with at_most(job["limit"]):
                invert(min(steps, 2), beam)
            settled(job)
            runs = []
            for _ in range(job["repeat"]):
                with at_most(job["limit"]):
                    began = time.perf_counter()
                    row["texts"], row["steps"] = invert(steps, beam)
                    settled(job)
                    runs.append(time.perf_counter() - began)
            row["seconds"] = statistics.median(runs)
        except TimeoutError:
            row |= {"seconds": job["limit"], "texts": None}
        rows[name] = row | {"peak_gb": peak(job)}
        print(f"{job['side']} {name}: {row['seconds']:.2f} s{'' if row['texts'] else ' and more'}", file=sys.stderr)
    return rows


@contextmanager
def at_most(seconds: float | None) -> Iterator[None]:
    """Raise TimeoutError in what runs longer."""

    def stop(number: int, frame: Any) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds or 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def settled(job: dict[str, Any]) -> None:
    """Wait for the device."""
    if job["device"] == "cuda":
        import torch

        torch.cuda.synchronize()


def peak(job: dict[str, Any]) -> float:
    """Most memory since the last call on a GPU, else of this process so far (getrusage adds its parent's), in GB."""
    if job["device"] == "cuda":
        import torch

        most = torch.cuda.max_memory_allocated() / 2**30
        torch.cuda.reset_peak_memory_stats()
        return most
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 2**20 for line in lines if line.startswith("VmHWM")), float("nan"))


if __name__ == "__main__":
    side, place = sys.argv[1], Path(sys.argv[2])
    job = json.loads((place / "job.json").read_text()) | {"side": side}
    (place / "found.json").write_text(json.dumps(SIDES[side](job)))
