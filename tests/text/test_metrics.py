"""BLEU is sacrebleu's, token F1 is by hand."""

import pytest
from sacrebleu.metrics import BLEU

from unembed_text.metrics import Bleu, TokenF1

REFERENCES = ["the cat sat on the mat today", "a b c d e", "hello there, general", "short"]
RECONSTRUCTIONS = ["The cat sat on a mat today", "a b c d e", "hello there", "quite another longer thing"]


def value(metric, references, reconstructions) -> float:
    return metric.aggregate(metric.statistics(references, reconstructions).sum(0))


def test_bleu_equals_sacrebleus_corpus_score() -> None:
    wanted = BLEU(lowercase=True).corpus_score(RECONSTRUCTIONS, [REFERENCES]).score
    assert value(Bleu(), REFERENCES, RECONSTRUCTIONS) == pytest.approx(wanted)
    assert value(Bleu(), REFERENCES[:2], REFERENCES[:2]) == pytest.approx(100)


def test_token_f1_by_hand() -> None:
    # 6 words shared of 7 + 7; all; 1 of 3 + 2, as "there," isn't "there"; none.
    wanted = (2 * 6 / 14 + 1 + 2 * 1 / 5 + 0) / 4
    assert value(TokenF1(), REFERENCES, RECONSTRUCTIONS) == pytest.approx(wanted)
