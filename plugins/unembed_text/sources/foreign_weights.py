"""Reading other people's model folders: their config and their weights, never a pickled object."""

import json
import pickle
import ssl
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from unembed.errors import CheckpointError, InputError, MissingExtraError, brief
from unembed.registry.hub import quiet_hub

__all__ = ["fetch", "reach_hub", "read_config", "read_weights"]

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
WANTED = ["*.json", "*.safetensors", "pytorch_model*.bin", "*.model", "*.txt"]


def fetch(source: str, what: str) -> Path:
    """The folder of a local path or of a hub id's files; raises InputError that names what is wanted."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if source.count("/") != 1 or source.startswith((".", "/", "~")):
        raise InputError(f"{what}: {source!r} is neither a folder here nor a hub id owner/name")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingExtraError("reading from the hub needs an extra: pip install 'unembed[text]'") from error
    reach_hub(source)
    try:
        with quiet_hub():
            return Path(snapshot_download(source, allow_patterns=WANTED))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise InputError(
            f"{what}: can't get {source!r} from the hub ({type(error).__name__}); name a folder with its config.json "
            f"and {' or '.join(WEIGHTS)}"
        ) from error


def reach_hub(source: str) -> None:
    """Raise InputError where the hub must be asked for `source` and can't be: its libraries try for a minute."""
    from huggingface_hub import constants, try_to_load_from_cache

    kept = ("config.json", "modules.json", "tokenizer.json")
    if Path(source).expanduser().exists() or source.count("/") > 1 or constants.HF_HUB_OFFLINE:
        return
    if any(isinstance(try_to_load_from_cache(source, name), str) for name in kept):
        return
    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=5).close()
    except HTTPError:
        return  # it answers
    except URLError as error:
        if isinstance(error.reason, ssl.SSLError):  # its libraries may have certificates of their own
            return
        raise InputError(
            f"{source!r} isn't a folder here, and the hub can't be reached ({error.reason}): name a folder with it"
        ) from error
    except OSError as error:
        raise InputError(
            f"{source!r} isn't a folder here, and the hub can't be reached ({error}): name a folder with it"
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json`; raises CheckpointError."""
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} has no readable config.json: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{folder / 'config.json'} doesn't hold an object but {type(found).__name__}")
    return found


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of `model.safetensors` or `pytorch_model.bin`, whole or sharded, as float32.

    A pickle is read with `weights_only=True`: one that holds anything but tensors is refused.
    """
    for name in WEIGHTS:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            files = [folder / name]
        elif index.is_file():
            files = _indexed(index)
        else:
            continue
        tensors = {key: tensor for file in files for key, tensor in _read(file).items()}
        return {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    raise CheckpointError(f"{folder} holds no weights: neither {' nor '.join(WEIGHTS)}, whole or with an index")


def _indexed(index: Path) -> list[Path]:
    """The files that an index names, all within its folder."""
    try:
        names = {str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{index} isn't a weight index: it has no weight_map") from error
    if strange := sorted(name for name in names if Path(name).name != name):
        raise CheckpointError(f"{index} names {brief(strange[0])!r}, which isn't in its folder")
    return sorted(index.parent / name for name in names)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        found = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"can't read {file}: {error.strerror or error}") from error
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise CheckpointError(
            f"{file} is damaged, or holds more than tensors, which is never opened: {str(error).splitlines()[0]}"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise CheckpointError(f"{file} isn't a dictionary of tensors")
    return found
