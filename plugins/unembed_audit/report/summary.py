"""report.json: every figure of a report, as plain data."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from unembed_audit.findings.kinds import KINDS
from unembed_audit.pipeline.sampling import Census, Stratum
from unembed_audit.report.mappings import MAPPINGS
from unembed_audit.report.tallies import LENGTHS, MATTERS, KindTally, Tallies

__all__ = ["Conditions", "summarise", "without_credentials"]

FORMAT = 1


@dataclass(frozen=True)
class Conditions:
    """Under which conditions an audit's figures hold.

    `place` is the source as the user typed it; what could be a password is taken out. `embedder` is the model asked,
    `identified` how sure it is that it made the vectors, `domain` what the inverter was trained and measured on,
    `detectors` what finds spans. `sample` is the most records of each stratum, None for all. `column` and `collection`
    are those that were read, as far as they are known.
    """

    place: str
    kind: str
    inverter: str
    embedder: str
    identified: str
    width: int
    effort: str
    precision: str
    domain: str
    detectors: str
    names_found: bool
    sample: int | None
    seed: int
    shown: bool
    version: str
    when: str
    seconds: float = 0.0
    column: str | None = None
    collection: str | None = None
    notes: tuple[str, ...] = field(default=())


def without_credentials(place: str) -> str:
    """A path or URL without a user's name, password or query, which could hold a key."""
    # A kind of source may stand before the URL: qdrant:http://…
    kind, address = re.fullmatch(r"((?:[\w-]+:)*?)((?:[a-zA-Z][\w+.-]*://)?.*)", place, re.DOTALL).groups()  # type: ignore[union-attr]
    if "://" not in address:
        return place
    scheme, _, rest = address.partition("://")
    authority, slash, path = re.split("[?#]", rest)[0].partition("/")
    return f"{kind}{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def summarise(
    rows: Iterable[Mapping[str, Any]], census: Census, conditions: Conditions, *, complete: bool = True
) -> dict[str, Any]:
    """The figures of an audit as one JSON-able object.

    `complete` is False for an audit that ended early: its figures hold for what was done, in the order of the sample.
    """
    tallies = Tallies()
    for row in rows:
        tallies.add(row)
    sizes = dict(census.records)
    for stratum, n in _seen(tallies).items():
        sizes[stratum] = max(n, sizes.get(stratum, 0))
    seen = _seen(tallies)
    weights = {one: sizes[one] / n for one, n in seen.items() if n}
    whole_store = all(seen.get(one) == size for one, size in sizes.items())
    measured = tallies.measured == tallies.rows and tallies.rows > 0
    live = {one: size for one, size in sizes.items() if not one.deleted}
    gone = {one: size for one, size in sizes.items() if one.deleted}
    given = {**asdict(conditions), "place": without_credentials(conditions.place), "notes": list(conditions.notes)}
    return {
        "format": FORMAT,
        "complete": complete,
        "conditions": given,
        "method": _method(tallies),
        "rows": tallies.rows,
        "measured": tallies.measured,
        "unknown": tallies.disclosed.unknown,
        "queries": tallies.queries,
        "store": {
            "records": sum(live.values()),
            "deleted": sum(gone.values()),
            "collections": len({one.collection for one in live or sizes}),
            "foreign": census.foreign,
            "skipped": census.skipped,
            "reasons": list(census.reasons),
            "notes": list(census.notes),
        },
        "overall": _rates(tallies, sizes, measured),
        "live": _rates(tallies, live, measured),
        "deleted": _rates(tallies, gone, measured),
        "by_collection": [
            {
                "collection": one.collection,
                "deleted": one.deleted,
                "records": size,
                **_rates(tallies, {one: size}, measured),
            }
            for one, size in sorted(sizes.items())
        ],
        "by_length": [
            {
                "tokens": _span(*LENGTHS[bucket]),
                "exact": whole.of_domain(weights, whole=whole_store and measured).as_dict(),
                "disclosed": some.of_domain(weights, whole=whole_store and measured).as_dict(),
            }
            for bucket, (whole, some) in sorted(tallies.lengths.items())
        ],
        "by_kind": sorted(
            [_of_kind(name, tallies.kinds[name], tallies.measured) for name in KINDS if name in tallies.kinds],
            key=lambda kind: (-round(kind["right"] or 0), -kind["severity"]),  # counts as the page has them
        ),
        "verdicts": dict(sorted(tallies.verdicts.items())),
        "examples": [dict(row) for row in tallies.best()],
        "matters_from": MATTERS,
        "mappings": [asdict(one) for one in MAPPINGS],
    }  # fmt: skip


def _seen(tallies: Tallies) -> dict[Stratum, int]:
    """How many rows of each stratum were counted into the share of disclosed ones."""
    return dict(tallies.disclosed.counts)


def _method(tallies: Tallies) -> str:
    """ "measured" where originals lie beside the vectors, "estimated" where calibrated probabilities stand in."""
    if tallies.rows == 0 or tallies.disclosed.unknown == tallies.rows:
        return "none"
    if tallies.measured == tallies.rows:
        return "measured"
    return "mixed" if tallies.measured else "estimated"


def _rates(tallies: Tallies, sizes: Mapping[Stratum, int], measured: bool) -> dict[str, Any]:
    words = [
        (tallies.words.sums[one] / tallies.words.counts[one], size)
        for one, size in sizes.items()
        if tallies.words.counts.get(one)
    ]
    weight = sum(size for _, size in words)
    return {
        "exact": tallies.exact.of_all(sizes, measured=measured).as_dict(),
        "disclosed": tallies.disclosed.of_all(sizes, measured=measured).as_dict(),
        "words": round(sum(share * size for share, size in words) / weight, 4) if weight else None,
    }


def _of_kind(name: str, tally: KindTally, measured: int) -> dict[str, Any]:
    kind = KINDS[name]
    told = tally.found - tally.unknown
    nothing = tally.found == 0
    in_originals = tally.right + tally.missed
    return {
        "kind": name,
        "label": kind.many,
        "severity": kind.severity,
        "found": tally.found,
        "right": round(tally.right, 2) if told or nothing else None,
        "precision": round(tally.right / told, 4) if told else None,
        "recall": round(tally.right / in_originals, 4) if measured and in_originals else None,
        "missed": tally.missed if measured else None,
        "records": sum(tally.records.counts.values()),
        "collections": [
            {
                "collection": collection,
                "found": int(found),
                "right": round(right, 2) if found > unknown else None,
            }
            for collection, (found, right, unknown) in sorted(tally.collections.items())
        ],
    }


def _span(low: int, high: int | None) -> str:
    return f"{low} and more" if high is None else f"{low} to {high}"
