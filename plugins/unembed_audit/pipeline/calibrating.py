"""Fit how sure a found span is: `python -m unembed_audit.pipeline.calibrating --help`.

Records whose truth is known are embedded and inverted; then of each span that is found it is looked at what speaks for
it, and whether it stood in the original. What was inverted is kept in a file: a run that was stopped goes on, and a fit
after the detectors changed needs no search.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np

from unembed import Inverter
from unembed.defaults import INVERTER
from unembed.errors import InputError, MissingExtraError
from unembed.inversion.keeping import Lines, read_lines
from unembed_audit.findings.detect import Tag, detect_all
from unembed_audit.findings.support import SHIPPED, SpanCalibration, calibration_error, features_of, fit
from unembed_audit.pipeline.comparing import compare
from unembed_audit.pipeline.inverting import inverted
from unembed_audit.tagger.examples import read_records
from unembed_audit.tagger.measuring import planted_records

__all__ = ["invert_texts", "main", "together", "weighed"]

HELD_OUT = ("patient", "bank", "secincident", "order", "school", "voicemail", "contactcard", "casework")
CPU_AT_ONCE = 4  # texts searched together: a CPU gains nothing by more, and results come sooner


def invert_texts(inverter: Inverter, texts: Sequence[str], *, effort: str, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Embed and invert texts; of each, what the embedder saw of it, what came back, and the search's candidates."""
    size = together(inverter, effort)
    batches = (inverter.embed(texts[i : i + size]).cpu().numpy() for i in range(0, len(texts), size))
    codec = inverter.codec
    for one in inverted(inverter, batches, effort=effort, seed=seed, at_once=size):
        yield {
            "text": str(codec.decode(codec.encode([texts[one.place]]))[0]),
            "recovered": one.text,
            "confidence": one.confidence,
            "candidates": list(one.candidates),
            "similarities": [round(value, 6) for value in one.similarities],
            "effort": effort,
            "inverter": inverter.name,
            "queries": one.queries,
        }


def together(inverter: Inverter, effort: str) -> int:
    """How many texts to search together."""
    return CPU_AT_ONCE if inverter.embedder.device.type == "cpu" else inverter.at_once(inverter.settings(effort))


def weighed(rows: Iterable[dict[str, Any]], tag: Tag | None) -> tuple[list[list[float]], list[bool], list[float]]:
    """Of every span found in what came back: what speaks for it, whether it is right, the text's confidence."""
    features: list[list[float]] = []
    right: list[bool] = []
    confidence: list[float] = []
    for row in rows:
        found, true = detect_all([row["recovered"], row["text"]], tag=tag)
        for finding, ok in zip(found, compare(row["recovered"], found, row["text"], true).right, strict=True):
            features.append(features_of(finding, row["candidates"], row["similarities"], row["confidence"]))
            right.append(ok)
            confidence.append(row["confidence"] or 0.0)
    return features, right, confidence


def cut(inverter: Inverter, texts: Iterable[str], shortest: int, longest: int, seed: int) -> Iterator[str]:
    """Each text's first tokens, of a number drawn between the two."""
    from unembed import SequenceCodec

    codec, draw = inverter.codec, np.random.default_rng(seed)
    if not isinstance(codec, SequenceCodec):
        raise InputError(f"inverter {inverter.name!r} reads no sequences that could be cut")
    for text in texts:
        length = min(int(draw.integers(shortest, longest + 1)), codec.lengths([text])[0])
        yield str(codec.decode(codec.first([text], length))[0])


@click.command()
@click.option("--records", type=click.Path(exists=True, path_type=Path), help="Records, Parquet.  [default: invented]")
@click.option("--samples", type=click.IntRange(0), default=200, show_default=True, help="Records to invert.")
@click.option("--tokens", type=click.IntRange(1), nargs=2, default=(8, 32), show_default=True, help="Cut to so many.")
@click.option("--effort", default="medium", show_default=True)
@click.option("--inverter", default=INVERTER, show_default=True)
@click.option(
    "--inversions", type=click.Path(path_type=Path), required=True, help="File of what was inverted; goes on."
)
@click.option("--out", type=click.Path(path_type=Path), help="File for the calibration.")
@click.option("--check", is_flag=True, help="Say how far the shipped calibration is off on these instead.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", help="cpu or cuda.  [default: the accelerator if there is one]")
def main(
    records: Path | None,
    samples: int,
    tokens: tuple[int, int],
    effort: str,
    inverter: str,
    inversions: Path,
    out: Path | None,
    check: bool,
    seed: int,
    device: str | None,
) -> None:
    """Fit the calibration of spans to records that are embedded and inverted, or check the shipped one."""
    from unembed import load
    from unembed_audit.commands.opening import check_extra, open_tagger

    done = _lines(inversions)
    if len(done) < samples:
        model = load(inverter, device=device)
        texts = list(cut(model, _texts(records, samples, seed), *tokens, seed))[len(done) :]
        with Lines(inversions) as lines:
            for row in invert_texts(model, texts, effort=effort, seed=seed):
                lines.append([row])
        done = _lines(inversions)
    try:
        check_extra()
    except MissingExtraError as error:
        raise MissingExtraError(f"{error}. What was inverted is kept in {inversions}: fit it elsewhere") from error
    given = weighed(done, open_tagger(device))
    features, right, confidence = np.array(given[0]), np.array(given[1], dtype=bool), np.array(given[2])
    facts: dict[str, Any] = {"texts": len(done), "spans": len(right), "right": round(float(right.mean()), 4)}
    if check:
        shipped = SpanCalibration.load(SHIPPED)
        told = np.maximum([shipped.probability(one) for one in features], confidence)
        click.echo(json.dumps({**facts, "error": round(calibration_error(told, right), 4)}))
        return
    found = fit(features, right, inverter=done[0]["inverter"], seed=seed)
    click.echo(json.dumps({**facts, "error": round(found.error, 4)}))
    if out is not None:
        found.save(out)


def _lines(path: Path) -> list[dict[str, Any]]:
    return list(read_lines(path)) if path.exists() else []


def _texts(records: Path | None, samples: int, seed: int) -> list[str]:
    """Records of kinds that the tagger didn't learn from, or invented ones, short and long."""
    if records is None:
        return [one.text for one in planted_records(samples, seed=seed)]
    kept = (one.text for one in read_records(records) if one.source.rpartition("/")[2] in HELD_OUT)
    texts = list(islice(kept, samples))
    if not texts:
        raise InputError(f"{records} has no records of {', '.join(HELD_OUT)} to calibrate on")
    return texts


if __name__ == "__main__":
    main()
