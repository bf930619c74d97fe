"""The text inverter's own times: embedding, one decoding of a beam, and a whole inversion of 16 tokens at 8 × 8.

Without bundled weights the network is an untrained one of the same size, which works just as hard.
"""

import time
from collections.abc import Callable

import torch

from unembed import load
from unembed.inversion.inverter import Inverter
from unembed_text.embedders.sentence_transformers import minilm
from unembed_text.methods.closed.checkpoint import build_inverter, build_network
from unembed_text.plugin import WEIGHTS

T5 = {
    "d_model": 512,
    "d_kv": 64,
    "d_ff": 1024,
    "num_layers": 8,
    "num_decoder_layers": 8,
    "num_heads": 6,
    "vocab_size": 30522,
    "feed_forward_proj": "gated-gelu",
}
SENTENCE = "the committee will meet again on thursday to discuss the new rules for visitors"


def untrained() -> Inverter:
    """An inverter of the bundled one's size."""
    special = {"pad": 0, "start": 101, "end": 102}
    config = {"t5": T5, "dimension": 384, "positions": 8, "hidden": 1024, "special": special}
    return build_inverter("untrained", build_network(config).eval(), minilm(), 17)


def timed(what: str, function: Callable[[], object], count: int = 1, unit: str = "s") -> None:
    """Print the best of three, after one to warm up."""
    times = []
    for _ in range(4):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    best = min(times[1:])
    print(f"{what:<58}{best:8.2f} s" + (f"{count / best:10.0f} {unit}/s" if count > 1 else ""))


def main() -> None:
    """Time everything on the device that `load` would choose."""
    inverter = load("minilm") if (WEIGHTS / "minilm").is_dir() else untrained()
    print(f"{inverter.name} on {inverter.embedder.device}, {torch.get_num_threads()} threads")
    signals = inverter.codec.first([SENTENCE], 16) if inverter.codec.lengths([SENTENCE])[0] >= 16 else None
    signals = inverter.codec.encode([SENTENCE]) if signals is None else signals
    target = inverter.embedder.embed(signals)
    many = signals.repeat(64, 1)
    timed("embedding 64 texts of 16 tokens", lambda: inverter.embedder.embed(many), 64, "texts")
    hypothesis = inverter.hypothesizer.hypothesize(target, 8)[0]
    state = target.expand(8, -1), hypothesis, inverter.embedder.embed(hypothesis)
    timed("one step's corrections: 8 hypotheses × 8 beams", lambda: inverter.corrector.correct(*state, 8))
    timed("one text, 8 steps × beam 8 (at most)", lambda: inverter.invert(target, steps=8, beam=8, patience=9))


if __name__ == "__main__":
    main()
