"""The bundle a user holds: embedder, parts, codec and efforts, and the verbs over them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack, final

import torch
from torch import Tensor

from unembed.contract.codec import Codec
from unembed.contract.embedder import Embedder
from unembed.contract.proposers import Corrector, Hypothesizer, Part
from unembed.contract.similarity import cosine
from unembed.defaults import ACCELERATOR_CHUNK_SIZE, CHUNK_SIZE, EFFORT
from unembed.engine.effort import EFFORTS, Effort, Overrides, effort_of
from unembed.engine.loop import SearchResult, Step, search
from unembed.errors import InputError
from unembed.inversion.calibration import verdicts
from unembed.inversion.precision import Precision, estimate_precision, given_precision
from unembed.inversion.results import Inversion, Row
from unembed.inversion.stream import at_once as most_at_once
from unembed.inversion.stream import regrouped
from unembed.inversion.words import NEAREST, WordEvidence, word_evidence

if TYPE_CHECKING:
    from unembed.checkpoints.manifest import Manifest
    from unembed.contract.metric import Metric

__all__ = ["Inverter"]


class Returned(NamedTuple):
    """Objects as they are returned, their signals, and what was measured on those."""

    objects: list[Any]
    signals: Tensor
    similarity: Tensor
    queries: Tensor
    changed: Tensor  # rows whose signals decoding changed
    again: Tensor  # their embeddings


@final
class Inverter:
    """Recovers objects from vectors. Built by `unembed.load`, or by hand from its parts.

    - `name`, `embedder`, `codec`: what it is called, the black box, and the way from objects to signals and back.
    - `metrics`: what `evaluate` measures of reconstructions, by name.
    - `hypothesizer`, `corrector`: the two learned parts, `guess` and `correct` to the moves of a search.
    - `editor`: a corrector that makes many small changes, the most promising first, where the corrector makes few
      large ones. Higher efforts use it if there is one; an `Editor` also combines those changes.
    - `parts`: what moves of your own call, by name.
    - `told`: makes of the noise of unit vectors (the standard deviation of a value's error) the parts to use for them,
      by name, where learned parts were trained to be told of it; none where they weren't.
    - `efforts`: what some of the efforts mean here, and further ones; the others mean what they do everywhere.
    - `longest`: how many elements of a sequence it writes at most, None where nothing but the codec limits it.
    - `manifest`: that of the checkpoint it was loaded from, if it was: what it was trained on, what it reaches.
    """

    def __init__(
        self,
        *,
        name: str,
        embedder: Embedder,
        hypothesizer: Hypothesizer,
        corrector: Corrector,
        codec: Codec,
        editor: Corrector | None = None,
        parts: Mapping[str, Part] | None = None,
        told: Callable[[float], Mapping[str, Part]] | None = None,
        metrics: "Mapping[str, Metric] | None" = None,
        efforts: Mapping[str, Effort] | None = None,
        longest: int | None = None,
    ) -> None:
        self.name = name
        self.embedder = embedder
        self.hypothesizer = hypothesizer
        self.corrector = corrector
        self.codec = codec
        self.editor = editor
        self.metrics = dict(metrics or {})
        self.efforts = EFFORTS | dict(efforts or {})
        self.longest = longest
        self.manifest: Manifest | None = None
        self._more_parts = dict(parts or {})
        self._told = told

    def __repr__(self) -> str:
        longest = "" if self.longest is None else f", longest={self.longest}"
        return f"Inverter({self.name!r}, embedder={self.embedder.name!r}, dimension={self.dimension}{longest})"

    @property
    def parts(self) -> dict[str, Part]:
        """What the moves of a search call, by name."""
        editor = {} if self.editor is None else self.editor.parts("edit")
        return self.hypothesizer.parts() | self.corrector.parts() | editor | self._more_parts

    def told(self, noise: float) -> dict[str, Part]:
        """The parts for unit vectors whose values are off by `noise`; none where nothing learned to be told of it."""
        return {} if self._told is None else dict(self._told(noise))

    @property
    def dimension(self) -> int:
        """The width of the vectors that it inverts."""
        return self.embedder.dimension

    def embed(self, objects: Sequence[Any]) -> Tensor:
        """Embed N `objects` (texts, images or their paths) as float32 `[N, D]`, with the inverter's own black box.

        Counts N queries. Raises InputError for what can't be embedded.

        Examples:
            >>> from unembed.testing.toy import toy_inverter
            >>> toy_inverter().embed(["cafe", "bead"]).shape
            torch.Size([2, 24])
        """
        if isinstance(objects, str):
            raise InputError('embed takes a list of inputs; for one text write embed(["…"])')
        return self.embedder.embed(self.codec.encode(objects if isinstance(objects, Sequence) else list(objects)))

    def invert(
        self,
        vectors: Any,
        *,
        effort: str | Effort = EFFORT,
        chunk_size: int | None = None,
        seed: int = 0,
        on_step: Callable[[Step], None] | None = None,
        trace: bool = False,
        candidates: bool = False,
        precision: str | None = None,
        words: bool = False,
        **overrides: Unpack[Overrides],
    ) -> Inversion:
        """Recover the objects behind `vectors`.

        - `vectors`: `[N, D]`, or one `[D]`: a tensor, an array or nested lists.
        - `effort`: "low", "medium", "high", "max", "exhaustive" (for models that run here), another of the inverter's
          or an `Effort`.
        - `overrides`: `steps`, `beam`, `patience` and `max_queries` (per vector; one is kept for measuring what is
          returned) in place of the effort's own. `steps=0` is the hypothesizer alone; where the embedder can't be asked
          (no key for an API) its likeliest guess comes back with a similarity of NaN.
        - `precision`: how the vectors were rounded ("int8", "3 decimals", "noise:0.01"; see
          `unembed.inversion.precision`), where their digits don't show it. A rounded vector is solved when nothing but
          its rounding is left, and the confidence allows for it, as long as no other input comes as near; an inverter
          that can be told of it is.
        - `words`: give the probability that each word of what comes back is in the input, told by the candidates that
          came nearest; nothing is asked of the embedder for it.
        - `chunk_size`, `seed`, `on_step`, `trace`, `candidates`: those of `unembed.search`.

        Raises InputError for an unknown effort or precision, for words where the inverter writes none, and for vectors
        of another width, with NaN or infinity, or of zeros only.

        Examples:
            >>> from unembed.testing.toy import toy_inverter
            >>> inverter = toy_inverter()
            >>> result = inverter.invert(inverter.embed(["cafe"]), effort="low", max_queries=100)
            >>> result.objects, result.similarity.tolist(), result.stopped
            (['cafe'], [1.0], ('solved',))
        """
        if words and self.codec.word is None:
            raise InputError(f"inverter {self.name!r} doesn't write words")
        settings = self.settings(effort, **overrides)
        target = self._checked(vectors)
        embedder, most = self.embedder, settings.limits.max_queries
        if settings.limits.steps == 0 and not embedder.available:
            return self._unmeasured(target, seed)
        if chunk_size is None:
            chunk_size = CHUNK_SIZE if embedder.device.type == "cpu" else ACCELERATOR_CHUNK_SIZE
        given = self._precision(target, precision)
        # A single query is spent on what is returned: the guess is decoded before it is embedded.
        once = most == 1
        found = search(
            target,
            embed=(lambda signals: embedder.embed(self._reread(signals)[1])) if once else embedder.embed,
            parts=self._parts_for(given),
            effort=settings.override(max_queries=None if most is None else max(1, most - 1)),
            similarity=embedder.similarity,
            chunk_size=chunk_size,
            seed=seed,
            on_step=on_step,
            trace=trace or (candidates and on_step is None),
            candidates=candidates,
            slack=None if given is None else given.slack,
            nearest=NEAREST if words else 0,
        )
        if once:
            objects, signals = self._reread(found.signals)
            embeddings, similarity, queries = found.embeddings, found.similarity, found.queries
        else:
            returned = self.returned(target, found.signals, found.similarity, found.queries)
            objects, signals, similarity, queries = returned[:4]
            embeddings = found.embeddings.index_copy(0, returned.changed, returned.again)
        calibration = None if self.manifest is None else self.manifest.calibration
        sure_similarity = similarity if given is None else given.assured(similarity)
        true_similarity = similarity if given is None else given.corrected(similarity)
        evidence = self._evidence(found, objects, given) if words else None
        sure = None if calibration is None else calibration.words
        return Inversion(
            objects,
            similarity,
            found.steps,
            queries,
            found.stopped,
            signals,
            embeddings,
            found.trace,
            None if calibration is None else calibration.confidence(sure_similarity),
            None if given is None else given.names,
            verdicts(objects, signals, true_similarity, found.stopped, self.codec, self.longest, calibration),
            None if evidence is None or sure is None else sure.found(evidence),
            evidence,
            self.codec,
        )

    def stream(
        self,
        batches: Iterable[Any],
        *,
        effort: str | Effort = EFFORT,
        at_once: int | None = None,
        chunk_size: int | None = None,
        seed: int = 0,
        on_step: Callable[[Step], None] | None = None,
        precision: str | None = None,
        words: bool = False,
        **overrides: Unpack[Overrides],
    ) -> Iterator[Row]:
        """Invert batches of vectors `[N, D]` of any size, and yield a row per vector as soon as its search ends.

        Rows are those of `Inversion.rows`, in order, `index` counted over all `batches`. `at_once` vectors are searched
        together, as many as fit into memory if None, and no more are read ahead: memory stays flat however many there
        are. `effort`, `chunk_size`, `seed`, `on_step`, `precision`, `words` and `overrides` are those of `invert`,
        which gives the same rows for the same `at_once` vectors and raises the same errors.

        Examples:
            >>> from unembed.testing.toy import toy_inverter
            >>> inverter = toy_inverter()
            >>> batches = (inverter.embed([word]) for word in ("cafe", "bead"))
            >>> for row in inverter.stream(batches, effort="low"):
            ...     print(row["index"], row["reconstruction"])
            0 cafe
            1 bead
        """
        parts = self.inversions(
            batches,
            effort=self.settings(effort, **overrides),
            at_once=at_once,
            chunk_size=chunk_size,
            seed=seed,
            on_step=on_step,
            precision=precision,
            words=words,
        )
        return chain.from_iterable(found.rows(first=first) for first, found in parts)

    def inversions(
        self,
        batches: Iterable[Any],
        *,
        effort: Effort,
        at_once: int | None = None,
        **options: Any,
    ) -> Iterator[tuple[int, Inversion]]:
        """What `stream` makes rows of: the number of the first of `at_once` vectors, and their `Inversion`."""
        size = self.at_once(effort) if at_once is None else at_once
        parts = regrouped(map(self._checked, batches), size)
        return ((number * size, self.invert(part, effort=effort, **options)) for number, part in enumerate(parts))

    def at_once(self, effort: Effort) -> int:
        """How many vectors to search together at that effort, so that candidates fit into memory."""
        signal = self.codec.encode(self.codec.probes[:1])[0]
        return most_at_once(effort.fitted(self.parts), signal, self.dimension, self.embedder.device)

    def settings(self, effort: str | Effort = EFFORT, **overrides: Unpack[Overrides]) -> Effort:
        """What `invert` searches with when given these; raises InputError."""
        if odd := overrides.keys() - Overrides.__annotations__.keys():
            known = ", ".join(Overrides.__annotations__)
            raise InputError(f"no setting {', '.join(sorted(odd))}; those of a search are {known}")
        found, box = effort_of(effort, self.efforts).override(**overrides), self.embedder
        if found.here and box.meter is not None and overrides.get("max_queries") is None:
            raise InputError(
                f"this effort is for models that run here: it asks {box.name!r} up to {found.limits.max_queries} "
                "queries per vector; take max, or say with max_queries how many it may ask"
            )
        return found

    def returned(self, target: Tensor, signals: Tensor, similarity: Tensor, queries: Tensor) -> Returned:
        """What a search found, measured on the objects that are returned: embedded again where decoding changed it."""
        objects, again = self._reread(signals)
        changed = (again != signals).flatten(1).any(1).nonzero().flatten()
        if not len(changed):
            return Returned(objects, signals, similarity, queries, changed, target[:0])
        embeddings = self.embedder.embed(again[changed])
        similarity = similarity.index_copy(0, changed, self.embedder.similarity(target[changed], embeddings))
        queries = queries.index_add(0, changed, torch.ones_like(changed))
        return Returned(objects, again, similarity, queries, changed, embeddings)

    def _reread(self, signals: Tensor) -> tuple[list[Any], Tensor]:
        """The objects that signals decode to, and the signals that those encode to."""
        objects = self.codec.decode(signals)
        return objects, self.codec.encode(objects).to(signals.device)

    def _parts_for(self, given: Precision | None) -> dict[str, Part]:
        """The parts for targets of that precision: told of it, where they can be and it is the same for all."""
        noise = None if given is None else given.noise(self.dimension)
        return self.parts if noise is None else self.parts | self.told(noise)

    def _evidence(self, found: SearchResult, objects: list[Any], given: Precision | None) -> WordEvidence:
        """What the nearest candidates say about each word of `objects`."""
        assert found.nearest is not None and self.codec.word is not None
        rows = found.nearest
        sizes = torch.bincount(rows.owner, minlength=len(objects)).tolist()
        texts, similarities = self.codec.decode(rows.signals), rows.similarity.tolist()
        ends = torch.tensor([0, *sizes]).cumsum(0).tolist()
        parts = [slice(start, end) for start, end in pairwise(ends)]
        none = [0.0] * len(objects)
        return word_evidence(
            self.codec.word,
            objects,
            [texts[part] for part in parts],
            [similarities[part] for part in parts],
            loss=none if given is None else given.loss.tolist(),
            most=none if given is None else given.most.tolist(),
        )

    def _unmeasured(self, target: Tensor, seed: int) -> Inversion:
        """The likeliest first guesses, from the targets alone: similarity and embeddings are NaN."""
        generator = torch.Generator(target.device).manual_seed(seed)
        signals = self.parts["guess"](target, 1, generator)[:, 0]
        unknown, none = torch.full_like(target, torch.nan), torch.zeros(len(target), dtype=torch.long)
        objects, stopped = self.codec.decode(signals), ("steps",) * len(target)
        return Inversion(objects, unknown[:, 0], none, none, stopped, signals, unknown, None, codec=self.codec)

    def exact(self, objects: Sequence[Any], inversion: Inversion) -> Tensor:
        """Whether each result of `inversion` equals its original in all that the embedder sees: bool `[N]`.

        `objects` are the N originals.

        Examples:
            >>> from unembed.testing.toy import toy_inverter
            >>> inverter = toy_inverter()
            >>> inverter.exact(["cafe", "face"], inverter.invert(inverter.embed(["cafe", "bead"])))
            tensor([ True, False])
        """
        original = self.codec.encode(objects).to(inversion.signals.device)
        return (original == inversion.signals).flatten(1).all(1)

    def _precision(self, target: Tensor, named: str | None) -> Precision | None:
        """How the targets are rounded; None where similarities aren't cosines, which is what rounding is told by."""
        if self.embedder.similarity is not cosine:
            if named is not None:
                raise InputError(
                    f"precision is for vectors compared by cosine; {self.embedder.name!r} compares otherwise"
                )
            return None
        return estimate_precision(target) if named is None else given_precision(named, target)

    def _checked(self, vectors: Any) -> Tensor:
        if isinstance(vectors, str) or (isinstance(vectors, Sequence) and any(isinstance(x, str) for x in vectors)):
            raise InputError("these are texts, not vectors: invert(inverter.embed([…])) embeds them first")
        if "complex" in str(getattr(vectors, "dtype", "")):
            raise InputError("the vectors are complex numbers; an embedding's are real")
        try:
            target = torch.as_tensor(vectors, dtype=torch.float32, device=self.embedder.device)
        except (TypeError, ValueError) as error:
            raise InputError(f"the vectors can't be read as an array of numbers [N, D]: {error}") from error
        target = target[None] if target.ndim == 1 and target.numel() else target
        if target.ndim != 2 or len(target) == 0:
            raise InputError(f"vectors must have shape [N, D] with N at least 1; got {list(target.shape)}")
        if target.shape[1] != self.dimension:
            raise InputError(
                f"the vectors are {target.shape[1]} wide; inverter {self.name!r} takes vectors of "
                f"{self.embedder.name!r}, which are {self.dimension} wide: use an inverter trained for their model"
            )
        for found, what in (
            ((~target.isfinite()).any(1), "NaN or infinity"),
            ((target == 0).all(1), "only zeros"),
        ):
            if found.any():
                row = int(found.nonzero()[0])
                raise InputError(f"row {row} of the vectors holds {what}; remove it or embed its input again")
        return target
