"""Make a file of signatures: `python -m unembed_audit.identify.learning minilm=minilm --data TEXTS --out FILE`."""

from pathlib import Path

import click
import numpy as np

from unembed.errors import InputError
from unembed_audit.identify.signatures import Signature, learn, read_signatures, write_signatures

__all__ = ["main"]

AT_ONCE = 32
LONGEST = 200  # characters: what lies in stores is short


@click.command()
@click.argument("embedders", nargs=-1, required=True, metavar="NAME=EMBEDDER...")
@click.option(
    "--data", type=click.Path(exists=True, path_type=Path), required=True, help="Ordinary texts, a file of passages."
)
@click.option(
    "--texts", "count", type=click.IntRange(100), default=1500, show_default=True, help="Texts to learn from."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write, or to add to.")
@click.option("--device", help="cpu or cuda.  [default: the accelerator if there is one]")
def main(embedders: tuple[str, ...], data: Path, count: int, out: Path, device: str | None) -> None:
    """Learn the signature of each EMBEDDER (as `unembed plugins` lists them; or vectors in a .npy file) as NAME."""
    from unembed.sources.passages import read_passages

    kept = {one.name: one for one in read_signatures(out)} if out.exists() else {}
    texts = [text[:LONGEST] for text in read_passages(data)[:count]]
    for given in embedders:
        name, equals, place = given.partition("=")
        if not equals:
            raise InputError(f"write NAME=EMBEDDER, as in minilm=minilm; got {given!r}")
        kept[name] = _learnt(name, place, texts, data, device)
        click.echo(f"{name}: {kept[name].width} wide, of {kept[name].n} texts", err=True)
    write_signatures([kept[name] for name in sorted(kept)], out)


def _learnt(name: str, place: str, texts: list[str], data: Path, device: str | None) -> Signature:
    if place.endswith(".npy"):
        vectors = np.load(place, allow_pickle=False).astype(np.float32)
    else:
        from unembed.devices import choose_device
        from unembed_text.embedders.given import text_embedder

        embedder = text_embedder(place, choose_device(device))
        parts = [embedder.embed_texts(texts[i : i + AT_ONCE]).cpu().numpy() for i in range(0, len(texts), AT_ONCE)]
        vectors = np.concatenate(parts)
    return learn(name, vectors, texts=f"{len(vectors)} passages of {data.name}, cut at {LONGEST} characters")


if __name__ == "__main__":
    main()
