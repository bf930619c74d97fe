"""Recall and precision of detection by kind: `python -m unembed_audit.tagger.measuring`.

Detection alone, on lower-cased true texts: of invented records whose sentences and names the tagger didn't learn from,
or of the records of a Parquet file.
"""

import json
from itertools import islice
from pathlib import Path

import click

from unembed_audit.findings.detect import detect_all
from unembed_audit.invented import invented
from unembed_audit.tagger.examples import Record, read_records
from unembed_audit.tagger.scoring import score_spans
from unembed_audit.tagger.tagging import Tagger

__all__ = ["main", "planted_records"]


def planted_records(count: int, *, seed: int = 0) -> list[Record]:
    """Short and long invented records, half and half."""
    both = zip(invented(seed), invented(seed + 1, long=True), strict=False)
    made = [one for pair in islice(both, (count + 1) // 2) for one in pair][:count]
    return [Record(one.text, "invented", one.spans) for one in made]


@click.command()
@click.option(
    "--records",
    type=click.Path(exists=True, path_type=Path),
    help="Records with spans, Parquet.  [default: invented ones]",
)
@click.option("--kind", "kinds", multiple=True, help="End of the records' source; may be given more than once.")
@click.option("--count", type=click.IntRange(1), default=1000, show_default=True, help="Records to look at.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the invented records.")
@click.option("--tagger", type=click.Path(exists=True, path_type=Path), help="Another tagger's file.")
@click.option("--alone", is_flag=True, help="The tagger without the recognisers of formats.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(
    records: Path | None,
    kinds: tuple[str, ...],
    count: int,
    seed: int,
    tagger: Path | None,
    alone: bool,
    as_json: bool,
) -> None:
    """Print recall and precision of each kind of finding, counted by overlapping characters."""
    if records is None:
        given = planted_records(count, seed=seed)
    else:
        chosen = (one for one in read_records(records) if not kinds or one.source.rpartition("/")[2] in kinds)
        given = list(islice(chosen, count))
    tag = Tagger.open(tagger)
    found = score_spans(given, tag if alone else lambda texts: detect_all(texts, tag=tag))
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(f"{len(given)} records\n{'kind':<10} {'spans':>6} {'recall':>7} {'precision':>9} {'masked':>7}")
    for kind, one in found.items():
        click.echo(f"{kind:<10} {one['n']:>6} {one['recall']:>7.3f} {one['precision']:>9.3f} {one['covered']:>7.3f}")


if __name__ == "__main__":
    main()
