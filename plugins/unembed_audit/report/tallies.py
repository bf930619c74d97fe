"""Counting an audit's rows: one pass, memory that doesn't grow with them."""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from unembed_audit.findings.kinds import KINDS
from unembed_audit.pipeline.sampling import Stratum
from unembed_audit.report.rates import Rate, stratified, weighted, wilson

__all__ = ["LENGTHS", "KindTally", "Share", "Tallies", "disclosed", "exact", "known"]

LENGTHS = ((1, 8), (9, 16), (17, 24), (25, 32), (33, 64), (65, 128), (129, None))  # tokens
MATTERS = 4.0  # a finding's severity from which it makes a record count as disclosed
EXAMPLES = 12

Row = Mapping[str, Any]


def known(row: Row) -> bool:
    """Whether the original lies beside the vector, so that the row is measured."""
    return row["exact"] is not None


def exact(row: Row) -> float | None:
    """Whether the text came back exactly: 1 or 0 where measured, else the calibrated probability, None without one."""
    return float(row["exact"]) if known(row) else row["confidence"]


def right(row: Row, finding: Mapping[str, Any]) -> float | None:
    """Whether a finding really stood in the original: 1 or 0 where measured, else its estimated probability."""
    return float(finding["right"]) if known(row) else finding["support"]


def disclosed(row: Row) -> float | None:
    """Whether the record's text or at least one finding that matters came back; None where nothing tells.

    Estimated, it is the largest of the probabilities involved: a lower bound, since they aren't independent.
    """
    chances = [exact(row)] + [right(row, one) for one in row["findings"] if KINDS[one["kind"]].severity >= MATTERS]
    told = [chance for chance in chances if chance is not None]
    return max(told) if told else None


@dataclass
class Share:
    """Successes, or probabilities of them, by stratum."""

    sums: dict[Stratum, float] = field(default_factory=dict)
    counts: dict[Stratum, int] = field(default_factory=dict)
    unknown: int = 0

    def add(self, stratum: Stratum, chance: float | None) -> None:
        """Count one record; None is counted as unknown and left out of the share."""
        if chance is None:
            self.unknown += 1
            return
        self.sums[stratum] = self.sums.get(stratum, 0.0) + chance
        self.counts[stratum] = self.counts.get(stratum, 0) + 1

    def of_stratum(self, stratum: Stratum, population: int, *, measured: bool) -> Rate:
        """The share within one stratum; hidden outcomes leave an interval even if all its records were looked at."""
        sums, n = self.sums.get(stratum, 0.0), self.counts.get(stratum, 0)
        return wilson(sums, n, population=max(population, n) if measured else None)

    def of_all(self, sizes: Mapping[Stratum, int], *, measured: bool) -> Rate:
        """The share in all strata of `sizes`, each weighing as many records as it has."""
        return stratified([(self.of_stratum(one, size, measured=measured), size) for one, size in sizes.items()])

    def of_domain(self, weights: Mapping[Stratum, float], *, whole: bool = False) -> Rate:
        """The share among records that cut across strata; `weights` are what one sampled record stands for.

        There is no interval where the `whole` store was looked at and measured.
        """
        found = weighted([(self.sums[one], n, weights.get(one, 1.0)) for one, n in self.counts.items()])
        return found if not whole or found.share is None else Rate(found.share, found.share, found.share, found.n)


@dataclass
class KindTally:
    """One kind of finding: how many came back, were right by measure or estimate, were missed, and in which records."""

    found: int = 0
    right: float = 0.0
    unknown: int = 0
    missed: int = 0
    collections: dict[str, list[float]] = field(default_factory=dict)  # found, right, unknown
    records: Share = field(default_factory=Share)


@dataclass
class Tallies:
    """Everything a report says of the rows, from one pass over them."""

    rows: int = 0
    measured: int = 0
    queries: int = 0
    exact: Share = field(default_factory=Share)
    disclosed: Share = field(default_factory=Share)
    words: Share = field(default_factory=Share)
    lengths: dict[int, tuple[Share, Share]] = field(default_factory=dict)
    kinds: dict[str, KindTally] = field(default_factory=dict)
    verdicts: dict[str, int] = field(default_factory=dict)
    examples: list[tuple[float, int, Row]] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Count a row."""
        stratum = Stratum(row["collection"], row["deleted"])
        self.rows += 1
        self.measured += known(row)
        self.queries += row["queries"]
        if row["verdict"] is not None:
            self.verdicts[row["verdict"]] = self.verdicts.get(row["verdict"], 0) + 1
        whole, some = exact(row), disclosed(row)
        self.exact.add(stratum, whole)
        self.disclosed.add(stratum, some)
        self.words.add(stratum, row["words"])
        bucket = next(i for i, (_, high) in enumerate(LENGTHS) if high is None or row["tokens"] <= high)
        for share, chance in zip(self.lengths.setdefault(bucket, (Share(), Share())), (whole, some), strict=True):
            share.add(stratum, chance)
        self._add_findings(row, stratum)
        self._keep(row)

    def _add_findings(self, row: Row, stratum: Stratum) -> None:
        chances: dict[str, list[float]] = {}
        for one in row["findings"]:
            tally = self.kinds.setdefault(one["kind"], KindTally())
            within = tally.collections.setdefault(row["collection"], [0, 0.0, 0])
            chance = right(row, one)
            tally.found += 1
            within[0] += 1
            if chance is None:
                tally.unknown += 1
                within[2] += 1
            else:
                tally.right += chance
                within[1] += chance
                chances.setdefault(one["kind"], []).append(chance)
        for kind, count in (row["missed"] or {}).items():
            self.kinds.setdefault(kind, KindTally()).missed += count
        for kind, told in chances.items():
            self.kinds[kind].records.add(stratum, max(told))

    def _keep(self, row: Row) -> None:
        """Keep the rows that show most: the gravest finding that is likely right, then how much else there is."""
        worth = sum(
            KINDS[one["kind"]].severity * (0.5 if (chance := right(row, one)) is None else chance)
            for one in row["findings"]
        ) + 3 * (exact(row) or 0.0)
        entry = (worth, -self.rows, row)
        add: Callable[..., Any] = heapq.heappush if len(self.examples) < EXAMPLES else heapq.heappushpop
        if worth > 0:
            add(self.examples, entry)

    def best(self) -> list[Row]:
        """The rows that show most, the first most."""
        return [row for _, _, row in sorted(self.examples, key=lambda entry: (-entry[0], -entry[1]))]
