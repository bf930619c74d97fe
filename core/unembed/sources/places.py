"""Where a source is, as a message may show it: short, and without passwords or keys."""

import re

from unembed.sources.cells import shortened

__all__ = ["shown"]

_PASSWORD = re.compile(r"(://[^:/@\s]*):[^@/\s]*@")
_SECRET = re.compile(r"((?:api[-_]?key|password|token|secret)=)[^&#\s]*", re.IGNORECASE)


def shown(place: str) -> str:
    """The place on one line, cut in its middle where it is long, its secrets replaced."""
    return shortened(_SECRET.sub(r"\1***", _PASSWORD.sub(r"\1:***@", place)), 200)
