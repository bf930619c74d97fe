"""The part of SARIF 2.1.0 that a report uses, as a JSON Schema of our own words; stricter than the standard's where
GitHub asks for more. Like the standard's, it allows no property that isn't named here.
"""

__all__ = ["SCHEMA"]


def _object(required, **properties):
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def _list(items, **more):
    return {"type": "array", "items": items, **more}


TEXT = {"type": "string", "minLength": 1}
BAG = {"type": "object", "properties": {"tags": _list(TEXT, uniqueItems=True, maxItems=10)}}
SEVERITY = {"type": "string", "pattern": r"^(10\.0|\d\.\d)$"}
MESSAGE = _object(["text"], text=TEXT, markdown=TEXT)
LEVEL = {"enum": ["none", "note", "warning", "error"]}
RULE = _object(
    ["id", "shortDescription", "fullDescription", "help", "properties"],
    id=TEXT,
    name=TEXT,
    shortDescription=MESSAGE,
    fullDescription=MESSAGE,
    help=MESSAGE,
    defaultConfiguration=_object(["level"], level=LEVEL),
    properties={**BAG, "required": ["tags", "precision", "security-severity"]},
)
PLACE = _object(
    ["artifactLocation", "region"],
    artifactLocation=_object(["uri"], uri={"type": "string", "pattern": "^[^/\\s][^\\s\\\\]*$"}),
    region=_object(["startLine"], startLine={"type": "integer", "minimum": 1}),
)
RESULT = _object(
    ["ruleId", "ruleIndex", "message", "locations", "partialFingerprints"],
    ruleId=TEXT,
    ruleIndex={"type": "integer", "minimum": 0},
    kind={"enum": ["notApplicable", "pass", "fail", "review", "open", "informational"]},
    level=LEVEL,
    message=MESSAGE,
    locations=_list(_object(["physicalLocation"], physicalLocation=PLACE), minItems=1, maxItems=100),
    partialFingerprints={"type": "object", "required": ["primaryLocationLineHash"], "additionalProperties": TEXT},
    properties={**BAG, "properties": {"security-severity": SEVERITY}},
)
RUN = _object(
    ["tool", "results"],
    tool=_object(["driver"], driver=_object(["name"], name=TEXT, version=TEXT, rules=_list(RULE, uniqueItems=True))),
    automationDetails=_object([], id=TEXT),
    invocations=_list(_object(["executionSuccessful"], executionSuccessful={"type": "boolean"})),
    results=_list(RESULT, maxItems=5000),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
)
SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    **_object(
        ["version", "runs"],
        **{"$schema": {"type": "string", "format": "uri"}},
        version={"const": "2.1.0"},
        runs=_list(RUN, maxItems=20),
    ),
}
