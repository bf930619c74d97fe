"""Vectors that are spread over columns, one a dimension."""

import re
from collections.abc import Sequence

__all__ = ["wide_groups"]

_FEWEST = 8
_NUMBERED = re.compile(r"(.*?)(\d+)")


def wide_groups(names: Sequence[str]) -> list[list[str]]:
    """Groups of at least eight columns that share a name and count on from 0 or 1, in the order of their numbers."""
    groups: dict[str, dict[int, str]] = {}
    for name in names:
        found = _NUMBERED.fullmatch(name)
        if found:
            groups.setdefault(found[1], {})[int(found[2])] = name
    return [
        [members[number] for number in sorted(members)]
        for members in groups.values()
        if len(members) >= _FEWEST and min(members) <= 1 and max(members) - min(members) == len(members) - 1
    ]
