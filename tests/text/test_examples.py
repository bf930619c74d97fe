"""The program that writes more texts to train on, with a small random language model."""

from pathlib import Path

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from unembed.sources.passages import read_passages

PROGRAM = Path(__file__).parents[2] / "examples/write_texts.py"


@pytest.mark.slow
def test_texts_go_on_from_beginnings_of_passages(t5_tokenizer, forked, tmp_path) -> None:
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(t5_tokenizer), eos_token_id=1, **shape))
    model.save_pretrained(tmp_path / "model")
    t5_tokenizer.save_pretrained(tmp_path / "model")
    passages = [
        f"this is number {word} of some that go on for long enough" for word in ("one", "two", "three", "four", "five")
    ]
    (tmp_path / "passages.txt").write_text("\n".join(passages))
    words = ["--model", tmp_path / "model", "--data", tmp_path / "passages.txt", "--out", tmp_path / "written.parquet"]
    words += ["--count", 7, "--at-once", 4, "--tokens", 5, "--device", "cpu"]
    done = forked(PROGRAM, *words).wait()
    assert done.returncode == 0, done.stderr
    written = read_passages(tmp_path / "written.parquet")
    assert len(written) == 7 and "7 texts" in done.stderr
    assert all(text.startswith("this is ") for text in written) and len(set(written)) > 1


@pytest.mark.parametrize(
    ("data", "count", "told"),
    [
        ("passages.txt", 7, "--model a folder"),
        ("absent.txt", 7, "absent.txt"),
        ("short.txt", 7, "no text of 10 words"),
        ("passages.txt", 0, "at least 1, not 0"),
    ],
)
def test_what_cant_be_used_is_told_in_one_line(data, count, told, forked, tmp_path) -> None:
    (tmp_path / "passages.txt").write_text("one two three four five six seven eight nine ten")
    (tmp_path / "short.txt").write_text("one two three four")
    words = ["--model", tmp_path / "none", "--data", tmp_path / data, "--out", tmp_path / "out.parquet"]
    done = forked(PROGRAM, *words, "--count", count).wait()
    assert done.returncode == 2 and told in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert not (tmp_path / "out.parquet").exists()
