"""`unembed identify`: which embedder made these vectors?"""

import json
from dataclasses import asdict

import click

__all__ = ["identify"]


@click.command()
@click.argument("source")
@click.option("--collection", help="The collection, table or index to read.  [default: all]")
@click.option("--column", help="The column, array or field of the vectors.")
@click.option(
    "--embedder",
    "embedders",
    multiple=True,
    help="Embedder to try on the texts beside the vectors. Repeat it for several.",
)
@click.option(
    "--invert/--no-invert", default=True, show_default=True, help="Invert a few vectors where nothing else tells."
)
@click.option("--device", help="cpu, cuda, cuda:1 …  [default: the accelerator if there is one]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def identify(
    source: str,
    collection: str | None,
    column: str | None,
    embedders: tuple[str, ...],
    invert: bool,
    device: str | None,
    as_json: bool,
) -> None:
    """Find out which embedder made the vectors in SOURCE, and show the evidence.

    Signatures of known embedders are compared first; texts beside the vectors are embedded again, which alone is a
    proof; then a few vectors are inverted. Vectors of several models in one place are told apart.
    """
    from unembed import open_source
    from unembed.defaults import INVERTER
    from unembed_audit.commands.opening import a_few, embed_with
    from unembed_audit.identify.identifying import Invert
    from unembed_audit.identify.identifying import identify as look
    from unembed_audit.identify.signatures import Vectors, read_signatures

    opened = open_source(source, column, collection=collection)
    vectors, texts = a_few(opened)
    signatures = read_signatures()
    asked = embedders or tuple(one.name for one in signatures if one.width == opened.width and _offered(one.name))

    def inverted(some: Vectors) -> list[float]:
        from unembed import load

        model = load(INVERTER, device=device)
        if model.dimension != some.shape[1]:
            return [0.0]
        found: list[float] = model.invert(some, effort="low").similarity.tolist()
        return found

    inverters: dict[str, Invert] = {INVERTER: inverted} if invert else {}
    found = look(
        vectors,
        signatures=signatures,
        texts=texts,
        embedders={name: embed_with(name, device) for name in asked},
        inverters=inverters,
    )
    if as_json:
        facts = asdict(found)
        facts.update(place=opened.place, kind=opened.kind, embedder=found.embedder, mixed=found.mixed)
        click.echo(json.dumps(facts, ensure_ascii=False))
        return
    click.echo(
        f"{opened.place}: {found.n} vectors looked at, {found.width} wide, of norm "
        f"{found.norm[0]:.3f} ± {found.norm[1]:.3f}"
    )
    for group in found.groups:
        part = f"{100 * group.share:.0f} %: " if found.mixed else ""
        said = group.sentence() if group.embedder is not None else group.sentence().replace("none", "None", 1)
        click.echo(f"{part}{said}.")
    for note in found.notes:
        click.echo(f"Note: {note}.")
    if any(group.embedder is None for group in found.groups):
        if found.by_width:
            click.echo(f"Of this width are, among others, {', '.join(found.by_width)}; a width proves nothing.")
        if any(texts):
            click.echo("Texts lie beside the vectors: name the model you suspect with --embedder to be sure.")


def _offered(name: str) -> bool:
    """Whether an installed plugin offers an embedder of that name."""
    from unembed.registry.discovery import offers

    return name.partition(":")[0] in offers("embedders")
