"""What settings of the search bring on known texts: `python tests/benchmarks/search.py TEXTS TOKENS SAMPLES`.

Without arguments a few sentences of the README stand in. Choose settings on texts that you won't report on.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from unembed import load, read_passages
from unembed.engine.effort import EFFORTS, Effort
from unembed.engine.limits import Limits
from unembed.engine.moves import Correct, Edit, Widen
from unembed.inversion.evaluation import evaluate

LONG = Limits(steps=30, patience=6, max_queries=5000)


def tried(count: int, *, beam: int = 8, keep: int | None = None, edits: int = 0, limits: Limits = LONG) -> Effort:
    """Corrections, and edits of the best two."""
    more = (Edit(count=edits, elite=2, keep=2),) if edits else ()
    return Effort(moves=(Correct(count=count, keep=keep), *more), beam=beam, elite=2, limits=limits)


SETTINGS = {  # beside the inverter's own efforts
    "wide": tried(16, beam=16),
    "wide, edits": tried(16, beam=16, edits=64),
    "many parents, edits": tried(4, beam=32, edits=64),
    "no edits": tried(32),
    "few edits": tried(32, edits=16),
    "more edits": tried(32, edits=64),
    "medium, two siblings": tried(8, keep=2, limits=Limits()),
    "medium, one sibling": tried(8, keep=1, limits=Limits()),
    "high as elsewhere": EFFORTS["high"],
    "high, two siblings": tried(16, keep=2, edits=16),
    "high, twice the corrections": tried(32, keep=1, edits=16),
    "max, siblings together": tried(64, edits=16),
    "more of both": tried(64, edits=64),
    "widening": replace(
        EFFORTS["max"],
        moves=(Widen(inner=Correct(count=64, keep=1), factors=(1, 2, 4)), Edit(count=16, elite=2, keep=2)),
        limits=Limits(steps=30, patience=6, max_queries=60_000),
    ),
}


def main() -> None:
    """One line a setting; each is tried under the name of an effort."""
    inverter = load("minilm")
    if len(sys.argv) == 4:
        passages, tokens, samples = read_passages(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
    else:
        text = (Path(__file__).parents[2] / "README.md").read_text()
        passages, tokens, samples = [line for line in text.splitlines() if len(line) > 60], 8, 2
    signals = inverter.codec.first(passages, tokens)[:samples].to(inverter.embedder.device)
    print(f"{len(signals)} texts of {tokens} tokens on {inverter.embedder.device}, {torch.get_num_threads()} threads")
    for name, settings in [*inverter.efforts.items(), *SETTINGS.items()]:
        found = evaluate(inverter, signals, effort=settings)
        row = " ".join(f"{key} {value:.4g}" for key, value in found.metrics.items())
        print(f"{name:<20} {row} seconds {found.seconds:.1f}\n    {settings}", flush=True)


if __name__ == "__main__":
    main()
