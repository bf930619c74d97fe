"""`unembed import-vec2text`."""

from pathlib import Path

import click

__all__ = ["import_vec2text"]


@click.command("import-vec2text")
@click.option("--inversion", required=True, metavar="DIR_OR_HUB_ID", help="The inversion model (hypothesizer).")
@click.option("--corrector", required=True, metavar="DIR_OR_HUB_ID", help="The corrector trained on it.")
@click.option("--embedder", metavar="DIR_OR_HUB_ID", help="Its embedder, or an embedder's name such as st:FOLDER.")
@click.option("--tokenizer", metavar="DIR_OR_HUB_ID", help="The T5's tokenizer, where it isn't found otherwise.")
@click.option("--device", help="cpu, cuda, cuda:1 …  [default: the accelerator if there is one]")
@click.argument("out", type=click.Path(path_type=Path))
def import_vec2text(
    inversion: str, corrector: str, embedder: str | None, tokenizer: str | None, device: str | None, out: Path
) -> None:
    """Convert a published vec2text pair to the checkpoint folder OUT, for --inverter OUT.

    Weights come from safetensors, or from pickles that hold nothing but tensors; pickled training arguments beside
    them are never opened.
    """
    from unembed.devices import choose_device
    from unembed_text.methods.vec2text.importing import import_pair

    import_pair(inversion, corrector, out, embedder=embedder, tokenizer=tokenizer, device=choose_device(device))
    click.echo(f"imported to {out}; try: unembed invert 'some text' --inverter {out}", err=True)
