"""The Python of the guide, on a stand-in for the model and an untrained inverter."""

import re
from pathlib import Path

from unembed_lm.methods.logprobs.recipe import PromptRecipe

PAGE = Path(__file__).parents[2] / "docs/guides/prompts.md"


def test_the_python_of_the_guide_runs(table, tmp_path) -> None:
    recipe = PromptRecipe({**table, "device": "cpu", "seed": 0})
    recipe.network.eval()
    recipe.save(tmp_path / "checkpoint", {})
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE))
    names = {"__name__": "prompts", "folder": str(tmp_path / "checkpoint"), "model": table["embedder"]}
    exec(compile(code, str(PAGE), "exec"), names)
    assert names["result"].objects
