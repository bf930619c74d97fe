"""The Python of the pages that need a checkpoint, a server or a T5, on stand-ins."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("one_thread")

DOCS = Path(__file__).parents[2] / "docs"


def run(page: str, **names: object) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE))
    assert code
    exec(compile(code, page, "exec"), {"__name__": page, **names})


def test_a_vec2text_checkpoint(random_pair) -> None:
    run("guides/vec2text.md", folder=str(random_pair))


def test_an_api(server, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UNEMBED_CACHE", str(tmp_path))
    run("guides/apis.md", server=server)


def test_training(t5_encoder, save_t5, tmp_path) -> None:
    run("guides/train-your-own.md", t5=save_t5(tmp_path / "t5", first=True), encoder=t5_encoder)


def test_adapting(server, small_checkpoint, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UNEMBED_CACHE", str(tmp_path))
    texts = [f"{number} {kind} were left with a neighbour" for number in range(20) for kind in ("parcels", "keys")]
    run("guides/adapt.md", server=server, texts=texts, base=str(small_checkpoint))
