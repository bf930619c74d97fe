"""The pair of networks as hypothesizer and corrector."""

from dataclasses import dataclass

import torch
from torch import Tensor

from unembed.contract.proposers import Corrector, Hypothesizer
from unembed.engine.moves import Asking, Guess
from unembed.engine.state import Parts, State
from unembed_text.codecs.t5 import T5Codec
from unembed_text.decoder.beams import decode
from unembed_text.decoder.network import T5Network
from unembed_text.methods.vec2text.network import CorrectionNetwork, GuessNetwork, as_read, ended
from unembed_text.methods.vec2text.scoring import scoring_of

__all__ = ["LENGTH", "Draft", "PairCorrector", "PairHypothesizer"]

LENGTH = 127  # tokens that vec2text lets a network write, the end among them


class PairHypothesizer(Hypothesizer):
    """Beam search from the target alone, of texts up to `length` tokens.

    A text of `tokens` or more carries no end: that is how correctors saw first guesses in their training. They read no
    more than `tokens` of it.
    """

    def __init__(self, network: GuessNetwork, codec: T5Codec, tokens: int, length: int = LENGTH) -> None:
        self.network, self.codec, self.tokens, self.length = network, codec, tokens, length

    def _hypothesize(self, target: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
        return self.codec.signals(_search(self.network, target, None, None, count, self.length, self.tokens - 1))


@dataclass(frozen=True, kw_only=True)
class Draft(Guess):
    """First guesses no longer than a corrector reads, where there are rounds to correct them in: less work."""

    needs = ("guess", "draft")  # type: ignore[assignment]  # as long as a move's may be

    def ask(self, state: State, parts: Parts, generator: torch.Generator) -> Asking:
        """See `Guess`."""
        yield self.guesses(state, parts["draft" if state.limits.steps else "guess"], generator)


class PairCorrector(Corrector):
    """Beam search from the target, a hypothesis and its embedding."""

    def __init__(self, network: CorrectionNetwork, codec: T5Codec, tokens: int) -> None:
        self.network, self.codec, self.tokens = network, codec, tokens

    def _correct(
        self,
        target: Tensor,
        hypothesis: Tensor,
        embedding: Tensor,
        count: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        read = as_read(self.codec.written(hypothesis), self.network.special, self.tokens)
        return self.codec.signals(_search(self.network, target, read, embedding, count, LENGTH, LENGTH))


def _search(
    network: T5Network,
    target: Tensor,
    hypothesis: Tensor | None,
    embedding: Tensor | None,
    count: int,
    length: int,
    shorter: int,
) -> Tensor:
    """`count` texts a row of up to `length` tokens, as ids; those of fewer than `shorter` with their end."""
    with network.autocast():
        states, mask = network.encode(target, hypothesis, embedding)
        ids = decode(network.decoder, states, mask, scoring_of(count), beams=count, length=length)
    return ended(ids, network.special, shorter)
