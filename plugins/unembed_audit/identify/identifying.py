"""Which embedder made these vectors, and what speaks for it. "None that I know" is an answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from unembed_audit.identify.groups import EVIDENCE, LEAST, Fit, assign, fits, two_populations
from unembed_audit.identify.signatures import WIDTHS, Signature, Vectors, unit

__all__ = ["Embed", "Group", "Identification", "Invert", "identify"]

Embed = Callable[[Sequence[str]], Vectors]
Invert = Callable[[Vectors], Sequence[float]]

SAME = 0.999  # cosine of a vector with its text embedded again
CLOSE = 0.9  # the same, of an embedder that is nearly right: other precision, prompt, or a text cut elsewhere
ASKED = 16  # texts embedded again
TRIED = 4  # vectors inverted
REACHED = 0.9  # similarity that an inversion reaches with the right embedder, and rarely with another
SHARE = 0.02  # of vectors from which a population counts


@dataclass(frozen=True)
class Group:
    """Vectors of one kind: how many of how many, the embedder they are of (None: none that is known), and why.

    `proof` is "re-embedding" (texts embedded again gave the same vectors), "resemblance" (nearly), "signature",
    "inversion" or None;
    `similarity` is the median that was reached by embedding again or inverting.
    """

    n: int
    of: int
    embedder: str | None
    proof: str | None
    fit: Fit | None = None
    similarity: float | None = None

    @property
    def share(self) -> float:
        """How much of the vectors they are."""
        return self.n / self.of

    def sentence(self) -> str:
        """What is known of the group, in a sentence."""
        if self.embedder is None:
            return "none of the embedders that I know"
        how = {
            "re-embedding": "certain: texts beside the vectors, embedded again, gave the same vectors",
            "resemblance": "likely: texts beside the vectors, embedded again, come near the vectors",
            "signature": "likely: direction and spread are those of its vectors",
            "inversion": "likely: inverted vectors lead back to themselves",
        }[str(self.proof)]
        reached = "" if self.similarity is None else f" (similarity {self.similarity:.4f})"
        return f"{self.embedder}, {how}{reached}"


@dataclass(frozen=True)
class Identification:
    """What the vectors say of their embedder. More than one group means that models are mixed."""

    n: int
    width: int
    norm: tuple[float, float]
    groups: tuple[Group, ...]
    by_width: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def embedder(self) -> str | None:
        """The one embedder of all vectors, None where none is known or several are mixed."""
        return self.groups[0].embedder if len(self.groups) == 1 else None

    @property
    def mixed(self) -> bool:
        """Whether vectors of more than one kind are there."""
        return len(self.groups) > 1


def identify(
    vectors: Vectors,
    *,
    signatures: Sequence[Signature],
    texts: Sequence[str | None] | None = None,
    embedders: Mapping[str, Embed] | None = None,
    inverters: Mapping[str, Invert] | None = None,
) -> Identification:
    """Say which embedder made `vectors` float32 `[N, D]`, all finite and none zero.

    First by `signatures` of that width; then, where `texts` lie beside the vectors, by embedding a few again with
    each of `embedders` (of that width; they give `[n, D]` for n texts), which alone is a proof; then by inverting a
    few with `inverters`, which give the similarity reached for each vector. The last two are asked for what the
    signatures name first, then for the others. Nothing is guessed from the width alone.
    """
    units, norms = unit(vectors), np.linalg.norm(vectors, axis=1)
    known = [one for one in signatures if one.width == vectors.shape[1]]
    notes = []
    places = assign(units, known)
    groups: list[Group] = []
    least = max(1, min(LEAST, len(units)), round(SHARE * len(units)))
    rest = np.zeros(len(units), dtype=bool)
    for number in sorted(set(places.tolist())):
        chosen = places == number
        if number >= 0 and chosen.sum() >= least and fits(units[chosen], known[number]).evidence >= EVIDENCE:
            groups.append(_of_signature(known[number], vectors, chosen, texts, embedders or {}, inverters or {}))
        else:
            rest |= chosen
    if rest.sum() >= least or not groups:
        second = two_populations(units[rest])
        parts = [rest]
        if second is not None:
            parts = [_within(rest, ~second), _within(rest, second)]
            notes.append("what fits no known embedder is of two kinds, which lie apart")
        groups += [_unknown(vectors, part, texts, embedders or {}, inverters or {}) for part in parts]
    elif rest.any():
        notes.append(f"{int(rest.sum())} of {len(units)} vectors fit no known embedder")
    merged = _merged(groups)
    return Identification(
        n=len(vectors),
        width=int(vectors.shape[1]),
        norm=(float(norms.mean()), float(norms.std())),
        groups=tuple(sorted(merged, key=lambda one: -one.n)),
        by_width=WIDTHS.get(int(vectors.shape[1]), ()),
        notes=tuple(notes),
    )


def _of_signature(
    signature: Signature,
    vectors: Vectors,
    chosen: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
    texts: Sequence[str | None] | None,
    embedders: Mapping[str, Embed],
    inverters: Mapping[str, Invert],
) -> Group:
    fit, n = fits(unit(vectors[chosen]), signature), int(chosen.sum())
    first = {signature.name: embedders[signature.name]} if signature.name in embedders else {}
    proved = _embedded_again(vectors, chosen, texts, {**first, **embedders})
    if proved is not None:
        return Group(n, len(vectors), proved[0], _proof(proved[1]), fit, proved[1])
    if fit.agrees:
        return Group(n, len(vectors), signature.name, "signature", fit)
    only = {signature.name: inverters[signature.name]} if signature.name in inverters else {}
    found = _inverted(vectors[chosen], only)
    if found is not None:
        return Group(n, len(vectors), found[0], "inversion", fit, found[1])
    return Group(n, len(vectors), None, None, fit)


def _unknown(
    vectors: Vectors,
    chosen: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
    texts: Sequence[str | None] | None,
    embedders: Mapping[str, Embed],
    inverters: Mapping[str, Invert],
) -> Group:
    n = int(chosen.sum())
    proved = _embedded_again(vectors, chosen, texts, embedders)
    if proved is not None:
        return Group(n, len(vectors), proved[0], _proof(proved[1]), similarity=proved[1])
    found = _inverted(vectors[chosen], inverters)
    if found is not None:
        return Group(n, len(vectors), found[0], "inversion", similarity=found[1])
    return Group(n, len(vectors), None, None)


def _embedded_again(
    vectors: Vectors,
    chosen: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
    texts: Sequence[str | None] | None,
    embedders: Mapping[str, Embed],
) -> tuple[str, float] | None:
    """The embedder whose vectors of the texts are these, with the median cosine: the first alike, else the closest."""
    if texts is None:
        return None
    # The shortest: what one program cuts another may not.
    places = sorted((i for i in np.flatnonzero(chosen).tolist() if texts[i]), key=lambda i: len(str(texts[i])))[:ASKED]
    if not places:
        return None
    given, best = unit(vectors[places]), None
    for name, embed in embedders.items():
        again = embed([str(texts[i]) for i in places])
        if again.shape[1] != vectors.shape[1]:
            continue
        cosine = float(np.median((given * unit(again)).sum(1)))
        if cosine >= SAME:
            return name, cosine
        if cosine >= CLOSE and (best is None or cosine > best[1]):
            best = name, cosine
    return best


def _proof(cosine: float) -> str:
    return "re-embedding" if cosine >= SAME else "resemblance"


def _inverted(vectors: Vectors, inverters: Mapping[str, Invert]) -> tuple[str, float] | None:
    for name, invert in inverters.items():
        reached = float(np.median(invert(vectors[:TRIED])))
        if reached >= REACHED:
            return name, reached
    return None


def _merged(groups: Sequence[Group]) -> list[Group]:
    """Groups of one embedder are one; groups of unknown ones stay apart."""
    found: dict[str | int, Group] = {}
    for place, one in enumerate(groups):
        key: str | int = place if one.embedder is None else one.embedder
        before = found.get(key)
        found[key] = one if before is None else Group(
            before.n + one.n, one.of, one.embedder, before.proof, before.fit, before.similarity
        )  # fmt: skip
    return list(found.values())


def _within(
    mask: "np.ndarray[tuple[int], np.dtype[np.bool_]]", part: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    found = np.zeros_like(mask)
    found[np.flatnonzero(mask)[part]] = True
    return found
