"""What both commands need: a few vectors of a source, the signatures, the tagger where there is one."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from unembed.errors import MissingExtraError
from unembed_audit.findings.support import SHIPPED as SUPPORT
from unembed_audit.findings.support import SpanCalibration
from unembed_audit.identify.groups import belonging
from unembed_audit.identify.identifying import Embed, Identification, identify
from unembed_audit.identify.signatures import Vectors, read_signatures, unit
from unembed_audit.pipeline.sampling import Belongs, Census, draw
from unembed_audit.plugin import LIBRARIES

if TYPE_CHECKING:
    from unembed import Inverter
    from unembed_audit.auditing import Source
    from unembed_audit.findings.detect import Tag

__all__ = [
    "LOOKED_AT",
    "a_few",
    "belongs_to",
    "check_extra",
    "embed_with",
    "open_calibration",
    "open_tagger",
    "who_made",
]

LOOKED_AT = 512  # vectors of each collection by which an embedder is identified


def check_extra() -> None:
    """Raise MissingExtraError where a library of the extra is missing: before an hour of inverting, not after it."""
    if missing := [name for name in LIBRARIES if find_spec(name) is None]:
        raise MissingExtraError(f"audits need an extra: pip install 'unembed[audit]' (missing: {', '.join(missing)})")


def a_few(source: "Source", *, most: int = LOOKED_AT, seed: int = 0) -> tuple[Vectors, list[str | None]]:
    """Vectors `[N, D]` drawn at random from each collection of a source, of its first width; their texts if known."""
    chosen = draw(source.batches(), most, seed=seed, census=Census(), width=source.width)
    return np.stack([one.vector for one in chosen]), [one.text for one in chosen]


def who_made(source: "Source", inverter: "Inverter") -> Identification:
    """Which embedders made a source's vectors, the inverter's own among those that are asked."""
    vectors, texts = a_few(source)
    name = inverter.embedder.name
    return identify(
        vectors,
        signatures=read_signatures(),
        texts=texts,
        embedders={name: lambda given: _embedded(inverter, given)},
        inverters={name: lambda some: inverter.invert(some, effort="low").similarity.tolist()},
    )


def belongs_to(found: Identification, name: str) -> Belongs | None:
    """Which vectors of a mixed source are of the embedder `name`; None where they can't be told from the others."""
    known = {one.name: one for one in read_signatures() if one.width == found.width}
    if name not in known or all(group.embedder != name for group in found.groups):
        return None
    ours, others = known.pop(name), list(known.values())
    return lambda vectors: belonging(unit(vectors), ours, others)


def in_words(found: Identification) -> str:
    """An identification in one line."""
    if not found.mixed:
        return found.groups[0].sentence()
    return "mixed: " + "; ".join(f"{100 * group.share:.0f} % {group.sentence()}" for group in found.groups)


def embed_with(name: str, device: str | None) -> Embed:
    """The embedder of that name as a function of texts; it is opened when it is first asked."""
    opened: list[Any] = []

    def embed(texts: Sequence[str]) -> Vectors:
        from unembed.devices import choose_device
        from unembed_text.embedders.given import text_embedder

        if not opened:
            opened.append(text_embedder(name, choose_device(device)))
        found: Vectors = opened[0].embed_texts(list(texts)).cpu().numpy()
        return found

    return embed


def open_tagger(device: str | None) -> "Tag | None":
    """The tagger, None where it or its encoder isn't installed."""
    from unembed.devices import choose_device
    from unembed_audit.tagger.tagging import Tagger

    try:
        return Tagger.open(device=choose_device(device))
    except MissingExtraError:
        return None


def open_calibration(inverter: "Inverter") -> SpanCalibration | None:
    """The shipped calibration of spans, None where it was fitted to another inverter's results."""
    if not SUPPORT.exists():
        return None
    found = SpanCalibration.load(SUPPORT)
    return found if found.inverter == inverter.name else None


def _embedded(inverter: "Inverter", texts: Sequence[str]) -> Vectors:
    found: Vectors = inverter.embed(list(texts)).cpu().numpy()
    return found
