"""A published pair as a checkpoint of ours, imported when it is first asked for."""

import os
from pathlib import Path

from unembed.errors import InputError
from unembed_text.methods.vec2text.published import Pair

__all__ = ["pair_folder"]


def pair_folder(pair: Pair) -> Path:
    """The checkpoint of a published pair, imported on first use into the cache.

    The cache is `UNEMBED_CACHE`, else `~/.cache/unembed`. Raises InputError when the hub can't be reached.
    """
    import torch

    from unembed_text.methods.vec2text.importing import import_pair

    folder = Path(os.environ.get("UNEMBED_CACHE", "~/.cache/unembed")).expanduser() / "vec2text" / pair.name
    if not (folder / "manifest.json").is_file():
        try:
            import_pair(pair.inversion, pair.corrector, folder, device=torch.device("cpu"))
        except InputError as error:
            raise InputError(
                f"{pair.name!r} is imported on first use from {pair.inversion} and {pair.corrector}; {error}. Or "
                f"import copies: unembed import-vec2text --inversion DIR --corrector DIR --embedder DIR OUT"
            ) from error
    return folder
