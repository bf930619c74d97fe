"""What comes back of an inversion."""

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from unembed.engine.loop import Step
from unembed.errors import InputError, MissingExtraError, OutputError, brief
from unembed.inversion.words import FoundWords, WordEvidence

if TYPE_CHECKING:
    from pandas import DataFrame

    from unembed.contract.codec import Codec

__all__ = ["Inversion", "Row"]

Row = dict[str, Any]  # what `invert --json` prints for one vector


SHOWN = 10  # rows in a representation


@dataclass(frozen=True, repr=False)
class Inversion:
    """What came back for N vectors: objects, and for each its similarity, cost and reason to stop.

    `similarity`, `signals` and `embeddings` are those of the objects as returned, embedded once more where
    decoding changed a signal. `confidence` is the probability that a result is exact, if the inverter has been
    calibrated; it allows for the rounding of the vectors, which `precision` names ("float32", "int8", …).
    `verdict` says "unlike" where no input of the embedder ends at so low a similarity: another model's vectors, altered
    ones, or inputs far longer than the inverter writes. Where words were asked for, `words` has those of each object in
    order, each with the probability that the input has it too (None without a calibration of words), and `evidence`
    what speaks for them. `codec` reads originals, which `rows` compares with what came back. Iterating yields `rows()`,
    and `result[0]` is the first of them.

    Examples:
        >>> from unembed.testing.toy import toy_inverter
        >>> inverter = toy_inverter()
        >>> result = inverter.invert(inverter.embed(["cafe", "bead"]))
        >>> len(result), result.objects
        (2, ['cafe', 'bead'])
        >>> result
        Inversion of 2 vectors: objects, similarity, confidence
           0   1.0000         cafe
           1   1.0000         bead
    """

    objects: list[Any]
    similarity: Tensor
    steps: Tensor
    queries: Tensor
    stopped: tuple[str, ...]
    signals: Tensor
    embeddings: Tensor
    trace: tuple[Step, ...] | None
    confidence: Tensor | None = None
    precision: tuple[str, ...] | None = None
    verdict: tuple[str | None, ...] | None = None
    words: tuple[FoundWords, ...] | None = None
    evidence: WordEvidence | None = None
    codec: "Codec | None" = None

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, index: int) -> Row:
        return self.rows()[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows())

    def __repr__(self) -> str:
        lines = [f"Inversion of {len(self)} vector{'s' * (len(self) != 1)}: objects, similarity, confidence"]
        for row in self.rows()[:SHOWN]:
            sure = "" if row["confidence"] is None else f"{row['confidence']:.3f}"
            alike = "" if row["similarity"] is None else f"{row['similarity']:.4f}"
            lines.append(f"{row['index']:>4}  {alike:>7}  {sure:>5}  {brief(row['reconstruction'])}")
        return "\n".join([*lines, *(["  … rows() has them all"] if len(self) > SHOWN else [])])

    def to_pandas(self, *, inputs: Sequence[Any] | None = None) -> "DataFrame":
        """`rows()` as a data frame of N rows, with `inputs` if they are given; raises MissingExtraError without pandas.

        Examples:
            >>> from unembed.testing.toy import toy_inverter
            >>> inverter = toy_inverter()
            >>> frame = inverter.invert(inverter.embed(["cafe", "bead"])).to_pandas(inputs=["cafe", "bead"])
            >>> frame.reconstruction.tolist()
            ['cafe', 'bead']
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise MissingExtraError("to_pandas needs pandas: pip install pandas") from error
        return pandas.DataFrame(self.rows(inputs=inputs))

    def save(self, path: str | os.PathLike[str], *, inputs: Sequence[Any] | None = None) -> None:
        """Write `rows()`, with `inputs` if they are given, to a new file: .jsonl, a line per vector, or .parquet.

        Arrays are written as lists, other objects that aren't JSON's as their text. Raises InputError when `path` is
        there already or has another ending, OutputError when it can't be written.

        Examples:
            >>> from pathlib import Path
            >>> from unembed.testing.toy import toy_inverter
            >>> inverter = toy_inverter()
            >>> inverter.invert(inverter.embed(["cafe"])).save("results.jsonl")
            >>> Path("results.jsonl").read_text()[:38]
            '{"index": 0, "reconstruction": "cafe",'
        """
        kind = os.path.splitext(path)[1].lower()
        if kind not in (".jsonl", ".parquet"):
            raise InputError(f"{brief(path)}: name a file that ends in .jsonl or .parquet")
        rows = self.rows(inputs=inputs)
        try:
            with open(path, "xb") as file:
                if kind == ".parquet":
                    from unembed.inversion.tables import write_table

                    write_table(file, "", iter([{name: _text(value) for name, value in row.items()} for row in rows]))
                else:
                    for row in rows:
                        file.write(json.dumps(row, ensure_ascii=False, default=_plain).encode() + b"\n")
        except FileExistsError as error:
            raise InputError(f"{brief(path)} is there already; name a new file") from error
        except OSError as error:
            raise OutputError(f"can't write {brief(path)}: {error.strerror}") from error

    def rows(
        self, *, inputs: Sequence[Any] | None = None, exact: Sequence[bool | None] | None = None, first: int = 0
    ) -> list[Row]:
        """One dictionary per vector, as `invert --json` prints it.

        It has `input`, where what was embedded is known from `inputs` (N of them), or else `index`, counted from
        `first`; then `reconstruction`, `similarity`, `exact`, `confidence`, `steps`, `queries`, `stopped`, `precision`
        and `verdict`; and `words`, a list of [word, probability], where they were asked for. What isn't known is None:
        `exact` without the originals, which are `inputs` unless `exact` is given, `confidence` and `words` without a
        calibration, a similarity that couldn't be measured. Raises InputError for more or fewer than N inputs.

        Examples:
            >>> from unembed.testing.toy import toy_inverter
            >>> inverter = toy_inverter()
            >>> (row,) = inverter.invert(inverter.embed(["cafe"])).rows(inputs=["cafe"])
            >>> row["input"], row["reconstruction"], row["exact"]
            ('cafe', 'cafe', True)
        """
        if inputs is not None and len(inputs) != len(self):
            raise InputError(f"{len(inputs)} inputs for {len(self)} vectors; give one for each")
        if exact is None and inputs is not None and self.codec is not None:
            same = self.codec.encode(list(inputs)).to(self.signals.device) == self.signals
            exact = same.flatten(1).all(1).tolist()
        confidence = [None] * len(self) if self.confidence is None else self.confidence.tolist()
        columns = zip(
            self.objects,
            self.similarity.tolist(),
            [None] * len(self) if exact is None else exact,
            confidence,
            self.steps.tolist(),
            self.queries.tolist(),
            self.stopped,
            [None] * len(self) if self.precision is None else self.precision,
            [None] * len(self) if self.verdict is None else self.verdict,
            strict=True,
        )
        return [
            {
                **({"index": first + number} if inputs is None else {"input": inputs[number]}),
                "reconstruction": reconstruction,
                "similarity": _known(similarity),
                "exact": equal,
                "confidence": _known(sure),
                "steps": steps,
                "queries": queries,
                "stopped": stopped,
                "precision": precision,
                "verdict": verdict,
                **({} if self.evidence is None else {"words": self._words(number)}),
            }
            for number, (
                reconstruction,
                similarity,
                equal,
                sure,
                steps,
                queries,
                stopped,
                precision,
                verdict,
            ) in enumerate(columns)
        ]

    def _words(self, number: int) -> list[list[Any]] | None:
        return None if self.words is None else [[word, chance] for word, chance in self.words[number]]


def _plain(value: Any) -> Any:
    """What JSON has no form for: arrays and tensors as lists, anything else as its text."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic | Tensor) else str(value)


def _text(value: Any) -> Any:
    """What a column of text holds of a reconstruction or an input that isn't one."""
    return value if value is None or isinstance(value, str | int | float | bool | list) else json.dumps(_plain(value))


def _known(value: float | None) -> float | None:
    """JSON has no NaN: what couldn't be measured is None."""
    return None if value is None or math.isnan(value) else value
