"""report.sarif: what a code scanner shows, SARIF 2.1.0 within GitHub's limits."""

import hashlib
from collections.abc import Mapping
from pathlib import PurePath, PurePosixPath
from typing import Any
from urllib.parse import quote

from unembed_audit.findings.kinds import KINDS, level

__all__ = ["sarif"]

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
MOST_RESULTS = 5000  # that GitHub keeps of a run
LIKELY = 0.5  # spans expected to be right from which a kind is reported
WHOLE = "whole-text"


def sarif(report: Mapping[str, Any]) -> dict[str, Any]:
    """A SARIF log with one run: one result a collection and kind of finding, and one a collection for whole texts.

    Only what is right, measured or more likely than not, is a result; where nothing tells, the finding is a result of
    kind "review". Texts and values are never in it, masked or not.
    """
    results = [*_whole_texts(report), *_findings(report)]
    results.sort(key=lambda one: -float(one["properties"]["security-severity"]))
    used = sorted({one["ruleId"] for one in results})
    for one in results:
        one["ruleIndex"] = used.index(one["ruleId"])
    conditions = report["conditions"]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "unembed audit",
                        "version": conditions["version"],
                        "rules": [_rule(name) for name in used],
                    }
                },
                "automationDetails": {"id": f"unembed-audit/{_location(conditions['place'])}/"},
                "invocations": [{"executionSuccessful": bool(report["complete"])}],
                "results": results[:MOST_RESULTS],
                "columnKind": "unicodeCodePoints",
            }
        ],
    }


def _rule(name: str) -> dict[str, Any]:
    severity = _severity(name)
    many = "whole texts" if name == WHOLE else KINDS[name].many
    tags = ["security", "privacy", "embedding-inversion", "external/cwe/cwe-200", "OWASP-LLM09-2026"]
    return {
        "id": name,
        "name": "RecoverableWholeText"
        if name == WHOLE
        else "Recoverable" + many.title().replace(" ", "").replace("-", ""),
        "shortDescription": {"text": f"Embeddings give away {many}."},
        "fullDescription": {
            "text": f"Stored embedding vectors were inverted, and {many} of the original texts came back. Whoever can "
            "read the vectors and ask the model that made them can read these."
        },
        "help": {
            "text": "Treat vectors and their backups like the texts they were made from. "
            "report.html says under which conditions this holds.",
            "markdown": "Treat vectors and their backups like the texts they were made from. `report.html` says under "
            "which conditions this holds, and what would change it.",
        },
        "defaultConfiguration": {"level": level(severity)},
        "properties": {"tags": tags, "precision": "high", "security-severity": f"{severity:.1f}"},
    }


def _whole_texts(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: dict[str, list[tuple[float, int, float]]] = {}
    for part in report["by_collection"]:
        share = part["exact"]["share"]
        if share:
            expected = share * part["records"]
            found.setdefault(part["collection"], []).append((share, part["records"], expected))
    results = []
    for collection, parts in found.items():
        expected, records = sum(part[2] for part in parts), sum(part[1] for part in parts)
        if expected >= LIKELY:
            share, how = f"{100 * expected / records:.0f} %", report["method"]
            message = f"{share} of the texts{_in(collection)} come back from their vectors exactly ({how})."
            results.append(_result(report, WHOLE, collection, message, "fail"))
    return results


def _findings(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    results = []
    for kind in report["by_kind"]:
        for part in kind["collections"]:
            one = KINDS[kind["kind"]]
            found = _count(part["found"], one.one, one.many) + _in(part["collection"])
            if part["right"] is None:
                message = f"{found} came back from vectors; whether they are right isn't known."
                results.append(_result(report, kind["kind"], part["collection"], message, "review"))
            elif part["right"] >= LIKELY:
                sure = "right" if report["method"] == "measured" else "right by estimate"
                message = f"{found} came back from vectors in the sample, {part['right']:.0f} of them {sure}."
                results.append(_result(report, kind["kind"], part["collection"], message, "fail"))
    return results


def _result(report: Mapping[str, Any], rule: str, collection: str, message: str, kind: str) -> dict[str, Any]:
    uri, severity = _location(report["conditions"]["place"]), _severity(rule)
    named = hashlib.sha256(f"{uri}|{collection}|{rule}".encode()).hexdigest()[:32]
    return {
        "ruleId": rule,
        "kind": kind,
        # The level of anything but a failure is "none" (3.27.10).
        "level": level(severity) if kind == "fail" else "none",
        "message": {"text": message},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}}}],
        "partialFingerprints": {"primaryLocationLineHash": f"{named}:1"},
        "properties": {"collection": collection, "security-severity": f"{severity:.1f}"},
    }


def _severity(rule: str) -> float:
    return 7.5 if rule == WHOLE else KINDS[rule].severity


def _in(collection: str) -> str:
    return f" of collection {collection!r}" if collection else ""


def _count(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _location(place: str) -> str:
    """A relative path as SARIF wants it; a server or a path outside the working folder goes by its last part."""
    if "://" in place:
        return quote(place.partition("://")[2].strip("/") or "vector-store", safe="/")
    path = PurePath(place)
    if path.is_absolute() or ".." in path.parts:
        path = PurePath(path.name or "vector-store")
    return quote(str(PurePosixPath(*path.parts)) if path.parts else "vector-store", safe="/")
