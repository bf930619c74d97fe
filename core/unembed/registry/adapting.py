"""`adapt`: a trained inverter aimed at another embedder, from a few pairs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unembed.defaults import INVERTER, PAIRS
from unembed.devices import choose_device
from unembed.errors import InputError, UnknownNameError
from unembed.registry.discovery import modality_of, offered, offers
from unembed.registry.opening import checkpoint_folder, load, load_embedder

if TYPE_CHECKING:
    import torch

    from unembed.inversion.inverter import Inverter
    from unembed.registry.specs import Method

__all__ = ["adapt", "adapting_method"]


def adapt(
    out: str | Path,
    *,
    embedder: Any = None,
    data: str | Path | Sequence[Any] | None = None,
    pairs: int = PAIRS,
    pairs_from: str | Path | None = None,
    base: str = INVERTER,
    column: str | None = None,
    max_tokens: Sequence[int] = (),
    name: str | None = None,
    max_cost: float | None = None,
    device: "str | torch.device | None" = None,
    seed: int = 0,
    tune: float | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> "Inverter":
    """Aim the inverter `base` at the vectors of another `embedder`, and write it to the checkpoint folder `out`.

    `pairs` objects of `data` (a file, or a list) are embedded by `embedder` and by the base's own embedder, and a map
    from the one space to the other is fitted to the vectors; the base then proposes, and `embedder` judges. 1,000
    pairs take seconds once embedded. The checkpoint holds the map alone, a few MB, and names the base and the embedder:
    `load`, `invert`, `evaluate` and `calibrate` treat it as any other. How good the map is on held-out pairs is in
    `quality` of its manifest.

    - `embedder`: as in `load`: a name (`st:FOLDER`, a server's address), an `Embedder`, of texts also a
      sentence-transformers model or a function from a list of N texts to vectors `[N, D]`.
    - `base`: the inverter to aim, by the name that `load` takes.
    - `device`, `seed`: where it is computed, and which texts are drawn.
    - `pairs_from`: in place of `data` a source of vectors that have their texts beside them. Without an `embedder`
      nothing can be asked, and a search ends with the first guess.
    - `column`: of a .parquet file of `data`; of the vectors in `pairs_from`.
    - `max_tokens`: lengths that the texts are cut to, in turn; none are cut otherwise. Take those of what you invert.
    - `name`: of the new inverter; the folder's otherwise.
    - `max_cost`: most dollars spent on an embedding API.
    - `tune`: minutes for which the base's network goes on training, on all texts of `data` and with the errors that the
      map makes; the checkpoint then holds the network too. Best on a GPU, for ten minutes or more. The run is kept
      beside `out`, in a folder whose name ends in `.tuning`.
    - `on_progress`: called with what is being done, how much of it is done and of how much.

    Returns the new inverter. Raises InputError for what can't be adapted.

    Examples:
        Half of MiniLM's values stand for another model, and far too few texts for a corpus:

        >>> import unembed
        >>> minilm = unembed.load_embedder("minilm", device="cpu")
        >>> def half(texts):
        ...     return minilm.embed_texts(texts)[:, :192]
        >>> texts = [f"{number} {what} arrived" for number in range(20) for what in ("parcels", "letters")]
        >>> inverter = unembed.adapt("mine", embedder=half, data=texts, device="cpu")
        >>> inverter
        Inverter('mine', embedder='half', dimension=192)
        >>> inverter.manifest.training["pairs"]
        40
    """
    from unembed.checkpoints.manifest import read_manifest

    folder = checkpoint_folder(base)
    if folder is not None:
        known = offered("methods", read_manifest(folder).method)
        if known is not None and known.adapt is not None:
            raise InputError(f"inverter {base!r} is itself adapted; name the one that it is based on")
    place = choose_device(device)
    inverter = load(base, device=place)
    method = adapting_method(inverter, base)
    assert method.adapt is not None
    given = load_embedder(embedder, device=place) if isinstance(embedder, str) else embedder
    made = method.adapt(
        Path(out),
        inverter,
        base=base,
        embedder=given,
        data=data,
        pairs=pairs,
        pairs_from=pairs_from,
        column=column,
        max_tokens=max_tokens,
        name=name or Path(out).name,
        max_cost=max_cost,
        seed=seed,
        tune=tune,
        folder=folder,
        on_progress=on_progress,
    )
    made.manifest = read_manifest(Path(out))
    return made


def adapting_method(inverter: "Inverter", base: str) -> "Method":
    """The method that aims inverters of that one's modality; raises InputError for one that is itself aimed."""
    modality = modality_of(inverter)
    found: list[Method] = [
        spec
        for owners in offers("methods").values()
        for _, spec in owners
        if spec.adapt is not None and modality is not None and spec.modality == modality.name
    ]
    if not found:
        raise UnknownNameError(f"no method adapts inverters of {inverter.embedder.modality}, such as {base!r}")
    manifest = inverter.manifest
    if manifest is not None and manifest.method in {spec.name for spec in found}:
        raise InputError(f"inverter {base!r} is itself adapted; name the one that it is based on")
    return found[0]
