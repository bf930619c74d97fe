"""What searches differ in: which of the texts under way are kept, and when a row has ended."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from unembed_text.decoder.decoder import Decoder

__all__ = ["Scoring"]


class Scoring(ABC):
    """How a search scores texts; a frozen dataclass, since equal ones share what is recorded of them.

    Its states are named tuples of tensors, rows first. Each has `last` `[R, B]`, the tokens to read next, and `done`
    `[R]` or `[R, B]`, whether a row, or each of its beams, has ended.
    """

    @abstractmethod
    def begin(self, decoder: Decoder, padding: Tensor) -> Any:
        """The state before the first token of texts `[R, beams, length]`, of which there is only `padding` yet."""

    @abstractmethod
    def select(
        self, decoder: Decoder, hidden: Tensor, state: Any, position: Tensor, beams: int, first: bool
    ) -> tuple[Any, Tensor | None]:
        """The state after one more token, and its texts' parents: see `decoder.Select`."""

    @abstractmethod
    def texts(self, state: Any, *, cut: bool) -> Tensor:
        """The best texts `[R, up to beams, length]`; with `cut`, those that haven't ended end now."""
