"""BLEU and token F1 over texts as an uncased embedder sees them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unembed.contract.metric import Metric
from unembed.inversion.bootstrap import mean

__all__ = ["Bleu", "TokenF1", "text_metrics"]


class Bleu(Metric):
    """Corpus BLEU, 0 to 100, by sacrebleu (Post 2018) with its default tokenizer, lower-cased."""

    def statistics(self, references: Sequence[Any], reconstructions: Sequence[Any]) -> Tensor:
        from sacrebleu.metrics import BLEU

        bleu = BLEU(lowercase=True)
        rows = []
        for reference, reconstruction in zip(references, reconstructions, strict=True):
            score = bleu.corpus_score([reconstruction], [[reference]])
            rows.append([score.sys_len, score.ref_len, *score.counts, *score.totals])
        return torch.tensor(rows, dtype=torch.float64)

    def aggregate(self, sums: Tensor) -> float:
        from sacrebleu.metrics import BLEU

        sys_len, ref_len, *counts = (int(value) for value in sums.tolist())
        score = BLEU.compute_bleu(counts[:4], counts[4:], sys_len, ref_len, smooth_method="exp")
        return float(score.score)


class TokenF1(Metric):
    """Mean over texts of the F1 of their words as bags, 0 to 1 (Rajpurkar et al. 2016, without article rules)."""

    def statistics(self, references: Sequence[Any], reconstructions: Sequence[Any]) -> Tensor:
        rows = []
        for reference, reconstruction in zip(references, reconstructions, strict=True):
            a, b = Counter(reference.lower().split()), Counter(reconstruction.lower().split())
            shared = (a & b).total()
            rows.append([2 * shared / max(1, a.total() + b.total()), 1.0])
        return torch.tensor(rows, dtype=torch.float64)

    def aggregate(self, sums: Tensor) -> float:
        return mean(sums)


def text_metrics() -> dict[str, Metric]:
    """The metrics of every text inverter."""
    return {"bleu": Bleu(), "token_f1": TokenF1()}
