"""What settings of the search bring on known texts: `python tests/benchmarks/search.py TEXTS TOKENS SAMPLES`.

Without arguments a few sentences of the README stand in. Choose settings on texts that you won't report on.
"""

import sys
from dataclasses import asdict
from pathlib import Path

import torch

from unembed import load, read_passages
from unembed.engine.effort import EFFORTS, Effort
from unembed.inversion.evaluation import evaluate

SETTINGS = {  # beside the inverter's own efforts
    "wide": Effort(steps=30, beam=16, branch=16, patience=6, max_queries=5000),
    "wide, edits": Effort(steps=30, beam=16, branch=16, edits=64, elite=2, patience=6, max_queries=5000),
    "many parents, edits": Effort(steps=30, beam=32, branch=4, edits=64, elite=2, patience=6, max_queries=5000),
    "no edits": Effort(steps=30, beam=8, branch=32, patience=6, max_queries=5000),
    "few edits": Effort(steps=30, beam=8, branch=32, edits=16, elite=2, patience=6, max_queries=5000),
    "more edits": Effort(steps=30, beam=8, branch=32, edits=64, elite=2, patience=6, max_queries=5000),
    "medium, two siblings": Effort(steps=20, beam=8, branch=8, patience=3, siblings=2),
    "medium, one sibling": Effort(steps=20, beam=8, branch=8, patience=3, siblings=1),
    "high as elsewhere": EFFORTS["high"],
    "high, two siblings": Effort(
        steps=30, beam=8, branch=16, edits=16, elite=2, patience=6, max_queries=5000, siblings=2
    ),
    "high, twice the corrections": Effort(
        steps=30, beam=8, branch=32, edits=16, elite=2, patience=6, max_queries=5000, siblings=1
    ),
    "max, siblings together": Effort(steps=30, beam=8, branch=64, edits=16, elite=2, patience=6, max_queries=5000),
    "more of both": Effort(steps=30, beam=8, branch=64, edits=64, elite=2, patience=6, max_queries=5000),
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
        inverter.efforts["tried"] = settings
        found = evaluate(inverter, signals, effort="tried")
        row = " ".join(f"{key} {value:.4g}" for key, value in found.metrics.items())
        print(f"{name:<20} {row} seconds {found.seconds:.1f}\n    {asdict(settings)}", flush=True)


if __name__ == "__main__":
    main()
