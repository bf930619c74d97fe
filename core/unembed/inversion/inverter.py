"""The bundle a user holds: embedder, hypothesizer, corrector and codec, and the two verbs over them."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from unembed.contract.codec import Codec
from unembed.contract.embedder import Embedder
from unembed.contract.proposers import Corrector, Editor, Hypothesizer
from unembed.defaults import ACCELERATOR_CHUNK_SIZE, CHUNK_SIZE, EFFORT, REACH
from unembed.engine.effort import EFFORTS, Effort
from unembed.engine.effort import effort as settings_of
from unembed.engine.loop import Step, search
from unembed.errors import InputError
from unembed.inversion.results import Inversion

if TYPE_CHECKING:
    from unembed.checkpoints.manifest import Manifest
    from unembed.contract.metric import Metric

__all__ = ["Inverter"]


@final
class Inverter:
    """Recovers objects from vectors. Built by `unembed.load`, or by hand from its parts.

    An `editor` is a corrector that makes many small changes, the most promising first, where the corrector makes
    few large ones; higher efforts use it if there is one. An `Editor` also puts those together. `efforts` says what
    some of the efforts mean here; the others mean what they do everywhere.
    `manifest` is that of the checkpoint it was loaded from, if it was: what it was trained on, what it reaches.
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
        metrics: "Mapping[str, Metric] | None" = None,
        efforts: Mapping[str, Effort] | None = None,
    ) -> None:
        self.name = name
        self.embedder = embedder
        self.hypothesizer = hypothesizer
        self.corrector = corrector
        self.codec = codec
        self.editor = editor
        self.metrics = dict(metrics or {})
        self.efforts = EFFORTS | dict(efforts or {})
        self.manifest: Manifest | None = None

    @property
    def dimension(self) -> int:
        """The width of the vectors that it inverts."""
        return self.embedder.dimension

    def embed(self, objects: Sequence[Any]) -> Tensor:
        """Embed N objects as `[N, D]`, with the black box that the inverter was made for."""
        if isinstance(objects, str):
            raise InputError('embed takes a list of inputs; for one text write embed(["…"])')
        return self.embedder.embed(self.codec.encode(objects))

    def invert(
        self,
        vectors: Any,
        *,
        effort: str = EFFORT,
        steps: int | None = None,
        beam: int | None = None,
        patience: int | None = None,
        max_queries: int | None = None,
        chunk_size: int | None = None,
        seed: int = 0,
        on_step: Callable[[Step], None] | None = None,
        trace: bool = False,
    ) -> Inversion:
        """Recover the objects behind `vectors` `[N, D]` (or one `[D]`): a tensor, an array or nested lists.

        `effort` ("low", "medium", "high", "max") chooses how hard to search; `steps`, `beam`, `patience` and
        `max_queries` replace its own. `steps=0` is the hypothesizer alone; where the embedder can't be asked (no key
        for an API) its likeliest guess comes back with a similarity of NaN. The other options are those of
        `unembed.search`; of `max_queries` one is kept for measuring what is returned. Raises InputError for an
        unknown effort, and for vectors of another width, with NaN or infinity, or of zeros only.
        """
        settings = self.settings(effort, steps=steps, beam=beam, max_queries=max_queries)
        target = self._checked(vectors)
        embedder = self.embedder
        if settings.steps == 0 and not embedder.available:
            return self._unmeasured(target, seed)
        if chunk_size is None:
            chunk_size = CHUNK_SIZE if embedder.device.type == "cpu" else ACCELERATOR_CHUNK_SIZE
        starter = self.hypothesizer.starter if settings.steps else None
        found = search(
            target,
            embed=embedder.embed,
            hypothesize=(starter or self.hypothesizer).hypothesize,
            correct=self.corrector.correct,
            edit=None if self.editor is None else self.editor.correct,
            combine=self.editor.combine if isinstance(self.editor, Editor) else None,
            reach=self.editor.reach if isinstance(self.editor, Editor) else REACH,
            similarity=embedder.similarity,
            steps=settings.steps,
            beam=settings.beam,
            branch=settings.branch,
            guesses=settings.guesses,
            siblings=settings.siblings,
            edits=settings.edits,
            elite=settings.elite,
            patience=settings.patience if patience is None else patience,
            max_queries=None if settings.max_queries is None else max(1, settings.max_queries - 1),
            chunk_size=chunk_size,
            seed=seed,
            on_step=on_step,
            trace=trace,
        )
        objects = self.codec.decode(found.signals)
        signals, embeddings, similarity = found.signals, found.embeddings, found.similarity
        queries = found.queries
        if objects:
            # What is reported is measured on the object that is returned.
            returned = self.codec.encode(objects).to(signals.device)
            changed = (returned != signals).flatten(1).any(1)
            if changed.any():
                signals, embeddings = returned, embeddings.clone()
                embeddings[changed] = embedder.embed(returned[changed])
                similarity = similarity.clone()
                similarity[changed] = embedder.similarity(target[changed], embeddings[changed])
                queries = queries + changed
        calibration = None if self.manifest is None else self.manifest.calibration
        return Inversion(
            objects,
            similarity,
            found.steps,
            queries,
            found.stopped,
            signals,
            embeddings,
            found.trace,
            None if calibration is None else calibration.confidence(similarity),
        )

    def settings(
        self, effort: str, *, steps: int | None = None, beam: int | None = None, max_queries: int | None = None
    ) -> Effort:
        """What `invert` searches with when given these; raises InputError."""
        return settings_of(effort, steps=steps, beam=beam, max_queries=max_queries, efforts=self.efforts)

    def _unmeasured(self, target: Tensor, seed: int) -> Inversion:
        """The likeliest first guesses, from the targets alone: similarity and embeddings are NaN."""
        generator = torch.Generator(target.device).manual_seed(seed)
        signals = self.hypothesizer.hypothesize(target, 1, generator)[:, 0]
        unknown, none = torch.full_like(target, torch.nan), torch.zeros(len(target), dtype=torch.long)
        objects, stopped = self.codec.decode(signals), ("steps",) * len(target)
        return Inversion(objects, unknown[:, 0], none, none, stopped, signals, unknown, None)

    def exact(self, objects: Sequence[Any], inversion: Inversion) -> Tensor:
        """Whether each recovered signal equals that of the original in all that the embedder sees: `[N]`."""
        original = self.codec.encode(objects).to(inversion.signals.device)
        return (original == inversion.signals).flatten(1).all(1)

    def _checked(self, vectors: Any) -> Tensor:
        try:
            target = torch.as_tensor(vectors, dtype=torch.float32, device=self.embedder.device)
        except (TypeError, ValueError) as error:
            raise InputError(f"the vectors can't be read as numbers of one shape [N, D]: {error}") from error
        target = target[None] if target.ndim == 1 and target.numel() else target
        if target.ndim != 2 or len(target) == 0:
            raise InputError(f"vectors must have shape [N, D] with N at least 1; got {list(target.shape)}")
        if target.shape[1] != self.dimension:
            raise InputError(
                f"the vectors are {target.shape[1]} wide; inverter {self.name!r} takes vectors of "
                f"{self.embedder.name!r}, which are {self.dimension} wide: choose the inverter of their model"
            )
        for found, what in (
            ((~target.isfinite()).any(1), "NaN or infinity"),
            ((target == 0).all(1), "only zeros"),
        ):
            if found.any():
                row = int(found.nonzero()[0])
                raise InputError(f"row {row} of the vectors holds {what}; remove it or embed its input again")
        return target
