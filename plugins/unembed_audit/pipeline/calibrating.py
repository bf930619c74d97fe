"""Fit how sure a found span is: `python -m unembed_audit.pipeline.calibrating --records FILE --out FILE`.

Records whose truth is known are embedded and inverted; of each span that is found it is noted what speaks for it and
whether it stood in the original. `--spans` keeps those notes, so that a fit can be made of several runs.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from unembed.defaults import INVERTER
from unembed.errors import InputError
from unembed_audit.findings.detect import Tag, detect_all
from unembed_audit.findings.support import SHIPPED, SpanCalibration, calibration_error, features_of, fit
from unembed_audit.pipeline.comparing import compare
from unembed_audit.pipeline.inverting import inverted

__all__ = ["main", "spans_of"]

HELD_OUT = ("patient", "bank", "secincident", "order", "school", "voicemail", "contactcard", "casework")


def spans_of(
    inverter: Any, texts: list[str], effort: str, tag: Tag | None, *, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """Of each span found in what comes back of `texts`: its kind, what speaks for it, and whether it is right."""
    batches = (inverter.embed(texts[i : i + 4]).cpu().numpy() for i in range(0, len(texts), 4))
    for one in inverted(inverter, batches, effort=effort, seed=seed, at_once=4):
        original = inverter.codec.decode(inverter.codec.encode([texts[one.place]]))[0]
        found, true = detect_all([one.text, original], tag=tag)
        right = compare(one.text, found, original, true).right
        for finding, ok in zip(found, right, strict=True):
            yield {
                "text": one.place,
                "effort": effort,
                "kind": finding.kind,
                "score": finding.score,
                "features": features_of(finding, one.candidates, one.similarities, one.confidence),
                "confidence": one.confidence,
                "right": ok,
            }


def cut(inverter: Any, texts: Iterable[str], shortest: int, longest: int, seed: int) -> Iterator[str]:
    """Each text's first tokens, of a number drawn between the two."""
    draw = np.random.default_rng(seed)
    for text in texts:
        length = min(int(draw.integers(shortest, longest + 1)), inverter.codec.lengths([text])[0])
        yield str(inverter.codec.decode(inverter.codec.first([text], length))[0])


@click.command()
@click.option("--records", type=click.Path(exists=True, path_type=Path), help="Records, Parquet.  [default: invented]")
@click.option("--samples", type=click.IntRange(1), default=200, show_default=True, help="Records to invert.")
@click.option("--skip", type=click.IntRange(0), default=0, show_default=True, help="Records to leave out first.")
@click.option("--tokens", type=click.IntRange(1), nargs=2, default=(8, 32), show_default=True, help="Cut to so many.")
@click.option("--effort", "efforts", multiple=True, default=("medium",), show_default=True, help="May be repeated.")
@click.option("--inverter", default=INVERTER, show_default=True)
@click.option("--spans", type=click.Path(path_type=Path), required=True, help="File of notes, added to.")
@click.option("--out", type=click.Path(path_type=Path), help="File for the calibration.  [default: only the notes]")
@click.option("--check", is_flag=True, help="Say how far the shipped calibration is off on these spans instead.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", help="cpu or cuda.  [default: the accelerator if there is one]")
def main(
    records: Path | None,
    samples: int,
    skip: int,
    tokens: tuple[int, int],
    efforts: tuple[str, ...],
    inverter: str,
    spans: Path,
    out: Path | None,
    check: bool,
    seed: int,
    device: str | None,
) -> None:
    """Fit the calibration of spans to records that are embedded and inverted."""
    from unembed import load
    from unembed_audit.commands.opening import open_tagger

    model, tag = load(inverter, device=device), open_tagger(device)
    texts = list(cut(model, _texts(records, skip, samples, seed), *tokens, seed))
    with open(spans, "a", encoding="utf-8") as file:
        for effort in efforts:
            for one in spans_of(model, texts, effort, tag, seed=seed):
                file.write(json.dumps({**one, "inverter": model.name}) + "\n")
                file.flush()
    noted = [json.loads(line) for line in spans.read_text(encoding="utf-8").splitlines()]
    features, right = np.array([one["features"] for one in noted]), np.array([one["right"] for one in noted])
    if check:
        shipped = SpanCalibration.load(SHIPPED)
        told = np.array([max(shipped.probability(one["features"]), one["confidence"] or 0.0) for one in noted])
        click.echo(
            json.dumps({"spans": len(noted), "right": float(right.mean()), "error": calibration_error(told, right)})
        )
        return
    found = fit(features, right, inverter=model.name, seed=seed)
    click.echo(json.dumps({"spans": found.n, "right": float(right.mean()), "error": found.error}))
    if out is not None:
        found.save(out)


def _texts(records: Path | None, skip: int, samples: int, seed: int) -> list[str]:
    """Records of kinds that the tagger didn't learn from, or invented ones, short and long."""
    from itertools import islice

    from unembed_audit.tagger.examples import read_records
    from unembed_audit.tagger.measuring import planted_records

    if records is None:
        return [one.text for one in planted_records(skip + samples, seed=seed)][skip:]
    kept = (one.text for one in read_records(records) if one.source.rpartition("/")[2] in HELD_OUT)
    texts = list(islice(kept, skip, skip + samples))
    if not texts:
        raise InputError(f"{records} has no records of {', '.join(HELD_OUT)} to calibrate on")
    return texts


if __name__ == "__main__":
    main()
