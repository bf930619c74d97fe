"""An OpenAI-compatible server: `/completions` with token ids and log-probabilities by id, as vLLM has."""

from typing import Any

from unembed.errors import ServiceError
from unembed_lm.embedders.servers.served import Answer, Logs, ServedModel

__all__ = ["Completions"]

VIEW = 20  # the likeliest tokens that servers show
BIAS = 100.0  # brings a token into view whatever the model thinks of it
MARK = "token_id:"


class Completions(ServedModel):
    """All log-probabilities where the server shows them, along a given continuation in one request.

    With access "biased" a few tokens at a time are biased into view, one of them each time, by which the groups are
    compared; where the server shows values from before the bias, that tells nothing and is refused.
    """

    model: str = ""

    def written(self, ids: list[int], steps: int) -> Answer:
        """See `ServedModel`."""
        wide = -1 if self.access in ("forced", "full") else 1
        tokens, logs = self._answer(ids, steps, wide)
        return Answer(tokens, self.along(ids, tokens) if self.access == "biased" else logs)

    def along(self, ids: list[int], answer: list[int]) -> list[Logs]:
        """See `ServedModel`."""
        if self.access == "biased":
            return [self._biased(ids + answer[:place]) for place in range(len(answer))]
        found = self._ask(ids + answer[:-1], 1, logprobs=-1, prompt_logprobs=-1)
        shown = found["choices"][0].get("prompt_logprobs") or found.get("prompt_logprobs")
        if not isinstance(shown, list) or len(shown) != len(ids) + len(answer) - 1:
            raise ServiceError(
                f"{self.name}: the server showed no log-probabilities of the prompt, along which a continuation is "
                "forced; add access=full"
            )
        logs = [{int(i): float(entry["logprob"]) for i, entry in row.items()} for row in shown[len(ids) :]]
        return [*logs, self._read(found)[1][0]]

    def _answer(self, ids: list[int], steps: int, wide: int) -> tuple[list[int], list[Logs]]:
        return self._read(self._ask(ids, steps, logprobs=wide))

    def _biased(self, ids: list[int]) -> Logs:
        """The log-probabilities of `tokens`, up to what all have in common."""
        leader, *others = self.tokens
        logs: Logs = {leader: 0.0}
        for start in range(0, len(others), VIEW - 1):
            group = [leader, *others[start : start + VIEW - 1]]
            bias = {str(token): BIAS for token in group}
            _, (shown,) = self._read(self._ask(ids, 1, logprobs=VIEW, logit_bias=bias))
            if any(token not in shown for token in group):
                raise ServiceError(
                    f"{self.name}: the server shows log-probabilities from before the bias, which says nothing of "
                    "other tokens than the likeliest; add access=text"
                )
            logs |= {token: shown[token] - shown[leader] for token in group}
        return logs

    def _ask(self, ids: list[int], steps: int, **more: Any) -> dict[str, Any]:
        body = {
            "model": self.model,
            "prompt": ids,
            "max_tokens": steps,
            "temperature": 0,
            "return_tokens_as_token_ids": True,
            **more,
        }
        found = self.client.post("/completions", body, tokens=len(ids) + steps)
        if not isinstance(found.get("choices"), list) or not found["choices"]:
            raise ServiceError(f"{self.name}: the server answered without choices")
        return found

    def _read(self, found: dict[str, Any]) -> tuple[list[int], list[Logs]]:
        """The tokens that were written, and the log-probabilities shown before each."""
        shown = found["choices"][0].get("logprobs")
        if not isinstance(shown, dict) or not shown.get("tokens") or not shown.get("top_logprobs"):
            raise ServiceError(f"{self.name}: the server showed no log-probabilities; ask one that has them")
        try:
            tokens = [_id(token) for token in shown["tokens"]]
            logs = [{_id(token): float(value) for token, value in row.items()} for row in shown["top_logprobs"]]
        except ValueError as error:
            raise ServiceError(
                f"{self.name}: the server names tokens by their text, of which several may share one; it must know "
                "return_tokens_as_token_ids, as vLLM does"
            ) from error
        return tokens, logs


def _id(token: str) -> int:
    if not token.startswith(MARK):
        raise ValueError(token)
    return int(token.removeprefix(MARK))
