"""A language model behind a server, asked prompt by prompt."""

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unembed.errors import ServiceError
from unembed_lm.embedders.base import Access, PromptEmbedder, choose_tokens
from unembed_lm.embedders.frame import Frame
from unembed_lm.embedders.servers.client import Client
from unembed_lm.layout import ABSENT

__all__ = ["Answer", "ServedModel"]

Logs = dict[int, float]  # log-probabilities by token


class Answer(NamedTuple):
    """The tokens that a server wrote, and before each the log-probabilities that it showed."""

    tokens: list[int]
    logs: list[Logs]


class ServedModel(PromptEmbedder):
    """See `PromptEmbedder`. A subclass asks for a continuation, and for the distributions along one that is given."""

    def __init__(
        self,
        client: Client,
        tokenizer: Any,
        frame: Frame,
        *,
        name: str,
        tokens: int,
        steps: int,
        width: int,
        access: Access,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.client = client
        self.vocabulary = len(tokenizer)
        super().__init__(
            name=name,
            tokenizer=tokenizer,
            frame=frame,
            tokens=choose_tokens(tokens, self.vocabulary, seed),
            steps=steps,
            width=width,
            access=access,
            device=device,
            meter=client.meter,
        )

    @abstractmethod
    def written(self, ids: list[int], steps: int) -> Answer:
        """The likeliest continuation of `ids`, up to `steps` tokens, with what `access` shows along it."""

    @abstractmethod
    def along(self, ids: list[int], answer: list[int]) -> list[Logs]:
        """What `access` shows before each token of `answer`, as the continuation of `ids`."""

    def _own(self, prompts: Tensor, continuation: Tensor) -> tuple[Tensor, Tensor]:
        steps = self.layout.steps
        answers = [self.written(ids, steps) for ids in self._asked(prompts)]
        written = torch.full_like(continuation, ABSENT)
        for row, answer in zip(written, answers, strict=True):
            if not answer.tokens:
                raise ServiceError(f"{self.name}: the server wrote nothing in answer to a prompt")
            row[: len(answer.tokens)] = torch.tensor(answer.tokens, device=row.device)
        return self._ratios([answer.logs for answer in answers]), written

    def _forced(self, prompts: Tensor, continuation: Tensor) -> tuple[Tensor, Tensor]:
        rows = [[i for i in row if i != ABSENT] for row in continuation.tolist()]
        logs = [self.along(ids, answer) for ids, answer in zip(self._asked(prompts), rows, strict=True)]
        return self._ratios(logs), continuation

    def _asked(self, prompts: Tensor) -> list[list[int]]:
        before, after = self.frame.before, self.frame.after
        self.client.meter.answer(len(prompts))
        return [[*before, *(i for i in row if i != ABSENT), *after] for row in prompts.tolist()]

    def _ratios(self, rows: list[list[Logs]]) -> Tensor:
        found = torch.zeros(len(rows), self.layout.steps, self.layout.tokens, device=self.device)
        if self.access == "text":
            return found
        for row, steps in zip(found, rows, strict=True):
            for place, logs in enumerate(steps[: self.layout.steps]):
                lacking = [token for token in self.tokens if token not in logs]
                if lacking:
                    raise ServiceError(
                        f"{self.name}: the server showed log-probabilities of {len(logs)} tokens and none of "
                        f"{len(lacking)} that are asked for; {self._remedy()}"
                    )
                values = torch.tensor([logs[token] for token in self.tokens], dtype=torch.float64)
                if not values.isfinite().all():
                    raise ServiceError(f"{self.name}: the server gave a log-probability that isn't finite")
                row[place] = (values - values.mean()).float()
        return found

    def _remedy(self) -> str:
        return "let it show more of them, or add access=biased or access=text"
