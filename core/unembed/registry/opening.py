"""Opening what is asked for by name: inverters, embedders, checkpoint folders."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unembed.devices import choose_device
from unembed.errors import CheckpointError, EmbedderMismatchError, InputError, UnembedError, brief
from unembed.registry.discovery import method, offered, unknown
from unembed.registry.hub import from_hub, is_hub_id

if TYPE_CHECKING:
    import torch

    from unembed.checkpoints.manifest import Manifest
    from unembed.contract.embedder import Embedder
    from unembed.inversion.inverter import Inverter
    from unembed.registry.specs import InverterSpec, Modality

__all__ = ["build", "checkpoint_folder", "foreseen", "load", "load_embedder", "open_checkpoint"]


def load(
    name: str | Path,
    *,
    device: "str | torch.device | None" = None,
    embedder: Any = None,
    precision: 'Literal["highest", "high", "medium"] | None' = "high",
    self_test: bool = False,
) -> "Inverter":
    """Open an inverter: one that a plugin offers, a checkpoint folder, or one on the Hugging Face hub.

    - `name`: a name that `unembed plugins` lists, a folder, or a hub id `owner/name`.
    - `device`: "cpu", "cuda", "cuda:1" …; by default the accelerator if there is one, else the CPU.
    - `embedder`: another way to the model that the checkpoint was trained against: a name (`st:FOLDER`, a server's
      address) or an `Embedder`; of texts also a sentence-transformers model, or a function from a list of N texts to
      vectors `[N, D]`. A few embeddings are compared, and another model is refused.
    - `precision`: on a GPU of NVIDIA that of products of float32 from then on, as
      `torch.set_float32_matmul_precision` takes it: "high" is several times faster than "highest" and moves an
      embedding by about a thousandth, its cosine by a millionth; None leaves it as it is.
    - `self_test`: run the checkpoint's own test.

    Raises UnknownNameError (which lists the known names), InputError for what is no embedder, CheckpointError,
    EmbedderMismatchError, and MissingExtraError where a library isn't installed.

    Examples:
        >>> import unembed
        >>> inverter = unembed.load("minilm", device="cpu")
        >>> inverter
        Inverter('minilm', embedder='minilm', dimension=384, longest=40)
        >>> inverter.invert(inverter.embed(["meet me at noon"]), effort="low").objects
        ['meet me at noon']

        The same model by another way, here a function that you could replace by yours:

        >>> embed = unembed.load_embedder("minilm", device="cpu").embed_texts
        >>> unembed.load("minilm", device="cpu", embedder=lambda texts: embed(texts)).dimension
        384
    """
    if not isinstance(name, str | Path):
        raise InputError(f"load takes a name, a folder or a hub id; got {brief(name)}")
    place = choose_device(device)
    if place.type == "cuda" and precision is not None:
        import torch

        torch.set_float32_matmul_precision(precision)
    spec = offered("inverters", name) if isinstance(name, str) else None
    if spec is not None and embedder is None:
        inverter = build(spec, place)
    elif spec is not None:
        if spec.checkpoint is None:
            raise InputError(f"inverter {name!r} has no checkpoint to open with another embedder than its own")
        inverter = open_checkpoint(spec.checkpoint(), place, embedder)
    elif isinstance(name, Path) or os.path.isdir(os.path.expanduser(name)):
        inverter = open_checkpoint(Path(name).expanduser(), place, embedder)
    elif is_hub_id(name):
        inverter = open_checkpoint(from_hub(name), place, embedder)
    else:
        raise unknown("inverters", name, "a checkpoint folder or a hub id owner/name works too")
    if self_test:
        from unembed.checkpoints.self_test import run

        run(inverter)
    return inverter


def foreseen(name: str | Path) -> "tuple[Modality | None, int | None]":
    """What an inverter recovers and how wide its vectors are, as far as that is known before it is loaded."""
    from unembed.checkpoints.manifest import read_manifest

    spec: InverterSpec | None = offered("inverters", name) if isinstance(name, str) else None
    width = None if spec is None else spec.dimension
    if spec is not None and spec.checkpoint is not None:
        folder = spec.checkpoint()
    elif spec is None and os.path.isdir(os.path.expanduser(name)):
        folder = Path(name).expanduser()
    else:
        return None, width
    manifest = read_manifest(folder)
    kind: Modality | None = offered("modalities", method(manifest.method).modality)
    return kind, manifest.embedder.dimension or width


def checkpoint_folder(name: str | Path) -> Path | None:
    """The folder of the checkpoint that `load` opens under that name; None where there is none."""
    spec = offered("inverters", name) if isinstance(name, str) else None
    if spec is not None:
        return None if spec.checkpoint is None else spec.checkpoint()
    if isinstance(name, Path) or os.path.isdir(os.path.expanduser(name)):
        return Path(name).expanduser()
    return from_hub(name) if is_hub_id(name) else None


def build(spec: "InverterSpec", device: "torch.device") -> "Inverter":
    """The inverter that a plugin offers, with its own embedder."""
    if spec.load is not None:
        return spec.load(device)
    if spec.checkpoint is None:
        raise InputError(f"inverter {spec.name!r} can't be opened: its plugin gives neither `load` nor `checkpoint`")
    return open_checkpoint(spec.checkpoint(), device)


def load_embedder(name: str, *, device: "str | torch.device | None" = None) -> "Embedder":
    """Open an embedder, the black box that vectors come from.

    - `name`: as `unembed plugins` lists it, with an argument where it takes one: `st:FOLDER`.
    - `device`: as in `load`.

    Returns an `Embedder`, which embeds signals; of texts one that has `embed_texts` too. Raises UnknownNameError, which
    lists the known names, and InputError for an argument that means nothing.

    Examples:
        >>> import unembed
        >>> minilm = unembed.load_embedder("minilm", device="cpu")
        >>> minilm.embed_texts(["meet me at noon", "call me back"]).shape
        torch.Size([2, 384])
    """
    kind, _, argument = name.partition(":")
    spec = offered("embedders", kind)
    if spec is None:
        raise unknown("embedders", name, "some take an argument, as in st:FOLDER")
    embedder: Embedder = spec.load(argument, choose_device(device))
    return embedder


def open_checkpoint(folder: Path, device: "torch.device", embedder: Any = None) -> "Inverter":
    """Open a checkpoint folder by its method and check that its embedder is the right one.

    `embedder`, as in `load`, is asked in place of the one that the manifest names. One that is metered is checked when
    it is first asked. Raises CheckpointError, or EmbedderMismatchError.
    """
    from unembed.checkpoints.manifest import read_manifest
    from unembed.contract.embedder import Embedder

    manifest = read_manifest(folder)
    opened_by = method(manifest.method)
    manifest = manifest.model_copy(update={"method": opened_by.name, "modality": opened_by.modality})
    given = load_embedder(embedder, device=device) if isinstance(embedder, str) else embedder
    try:
        inverter = opened_by.open(folder, manifest, device, given)
    except RuntimeError as error:
        if isinstance(error, UnembedError) or "loading state_dict" not in str(error):
            raise
        raise CheckpointError(
            f"{folder}: its tensors don't fit the network that method {opened_by.name!r} builds now "
            f"({_first_misfit(error)}): set the sizes back, or train anew"
        ) from error
    if not isinstance(inverter.embedder, Embedder):
        raise InputError(
            f"inverter {inverter.name!r} takes the name of an embedder, or an `Embedder` of its {manifest.modality} "
            f"signals; got {brief(repr(embedder))}"
        )
    inverter.manifest = manifest
    _check_embedder(folder, manifest, inverter)
    return inverter


def _first_misfit(error: RuntimeError) -> str:
    """The first tensor that torch says doesn't fit, without its bullet."""
    lines = [line.strip() for line in str(error).splitlines()]
    return brief(lines[1] if len(lines) > 1 else lines[0], 160)


def _check_embedder(folder: Path, manifest: "Manifest", inverter: "Inverter") -> None:
    from unembed.checkpoints.fingerprint import fingerprint, same

    box, entry = inverter.embedder, manifest.embedder
    wanted = entry.fingerprint
    if entry.dimension is not None and box.dimension != entry.dimension:
        raise EmbedderMismatchError(
            f"{folder} inverts vectors of {entry.name!r}, which are {entry.dimension} wide; those of {box.name!r} are "
            f"{box.dimension} wide"
        )
    if wanted is None:
        return
    trained = f"{folder} was trained on {brief(entry.name)!r} (fingerprint {wanted.hash})"

    def check() -> None:
        found = fingerprint(box, inverter.codec)
        if not same(wanted, found):
            raise EmbedderMismatchError(
                f"{trained}, but {box.name!r} returns other embeddings (fingerprint {found.hash}): give the model "
                "that it was trained on, choose another inverter, or train anew if you changed the embedder"
            )

    if box.meter is not None:
        box.before_first(check)
    else:
        check()
