"""Opening what is asked for by name: inverters, embedders, checkpoint folders."""

from pathlib import Path
from typing import TYPE_CHECKING

from unembed.devices import choose_device
from unembed.errors import CheckpointError, EmbedderMismatchError, InputError
from unembed.registry.discovery import modality, offered, unknown
from unembed.registry.hub import from_hub

if TYPE_CHECKING:
    import torch

    from unembed.contract.embedder import Embedder
    from unembed.inversion.inverter import Inverter

__all__ = ["load", "load_embedder", "open_checkpoint"]


def load(
    name: str,
    *,
    device: "str | torch.device | None" = None,
    embedder: str | None = None,
    self_test: bool = False,
) -> "Inverter":
    """The inverter of that name: one that a plugin offers, a checkpoint folder, or a hub id `owner/name`.

    `device` is the accelerator if there is one, else the CPU. `embedder` names another way to the model that the
    checkpoint was trained against (a folder, a server). With `self_test` the checkpoint's own test is run. Raises
    UnknownNameError (which lists the known names), CheckpointError or EmbedderMismatchError.
    """
    place = choose_device(device)
    folder = Path(name).expanduser()
    spec = offered("inverters", name)
    if spec is not None and embedder is None:
        inverter: Inverter = spec.load(place)
    elif spec is not None:
        if spec.checkpoint is None:
            raise InputError(f"inverter {name!r} has no checkpoint to open with another embedder than its own")
        inverter = open_checkpoint(spec.checkpoint(), place, embedder)
    elif folder.is_dir():
        inverter = open_checkpoint(folder, place, embedder)
    elif name.count("/") == 1 and not name.startswith((".", "/", "~")):
        inverter = open_checkpoint(from_hub(name), place, embedder)
    else:
        raise unknown("inverters", name, "a checkpoint folder or a hub id owner/name works too")
    if self_test:
        _test(inverter)
    return inverter


def load_embedder(name: str, *, device: "str | torch.device | None" = None) -> "Embedder":
    """The black box of that name, `name` or `name:argument`; raises UnknownNameError."""
    kind, _, argument = name.partition(":")
    spec = offered("embedders", kind)
    if spec is None:
        raise unknown("embedders", name, "some take an argument, as in st:FOLDER")
    embedder: Embedder = spec.load(argument, choose_device(device))
    return embedder


def open_checkpoint(folder: Path, device: "torch.device", embedder: str | None = None) -> "Inverter":
    """Open a checkpoint folder with its modality's plugin and check that its embedder is the right one.

    With `embedder` the manifest's is replaced. One that is metered is checked when it is first asked.
    """
    from unembed.checkpoints.fingerprint import fingerprint, same
    from unembed.checkpoints.manifest import read_manifest

    manifest = read_manifest(folder)
    wanted, own = manifest.embedder["fingerprint"], manifest.embedder["name"]
    if embedder is not None:
        manifest = manifest.model_copy(update={"embedder": {**manifest.embedder, "name": embedder, "own": own}})
    inverter = modality(manifest.modality).open(folder, manifest, device)
    inverter.manifest = manifest
    box = inverter.embedder
    if box.dimension != manifest.embedder.get("dimension", box.dimension):
        raise EmbedderMismatchError(
            f"{folder} inverts vectors of {own!r}, which are {manifest.embedder['dimension']} wide; those of "
            f"{box.name!r} are {box.dimension} wide"
        )

    def check() -> None:
        found = fingerprint(box, inverter.codec)
        if not same(wanted, found):
            raise EmbedderMismatchError(
                f"{folder} was trained against {own!r} (fingerprint {wanted['hash']}), but "
                f"{box.name!r} answers otherwise (fingerprint {found['hash']}); install the embedder "
                f"that it names, or load another inverter"
            )

    if wanted is not None and box.meter is not None:
        box.before_first(check)
    elif wanted is not None:
        check()
    return inverter


def _test(inverter: "Inverter") -> None:
    """Invert what the checkpoint's self-test names; raises CheckpointError when it comes back worse than it did."""
    test = inverter.manifest.self_test if inverter.manifest is not None else None
    if test is None:
        raise CheckpointError(f"inverter {inverter.name!r} has no self-test to run")
    found = inverter.invert(inverter.embed([test["object"]]), steps=test["steps"], beam=test["beam"])
    reached = float(found.similarity[0])
    if reached < test["similarity"] - 0.02:
        raise CheckpointError(
            f"inverter {inverter.name!r} fails its self-test: similarity {reached:.3f}, {test['similarity']:.3f} when "
            f"it was saved; its weights may be damaged"
        )
