"""A llama.cpp server: `/completion` with token ids."""

from typing import Any

from unembed.errors import ServiceError
from unembed_lm.embedders.servers.served import Answer, Logs, ServedModel

__all__ = ["LlamaCpp"]


class LlamaCpp(ServedModel):
    """Log-probabilities of all tokens, before any sampler; along a given continuation with a request a token."""

    def written(self, ids: list[int], steps: int) -> Answer:
        """See `ServedModel`."""
        found = self._ask(ids, steps)
        rows = self._rows(found)
        tokens = [int(i) for i in found.get("tokens") or [row["id"] for row in rows]]
        if self.access != "text" and len(rows) < len(tokens):
            raise ServiceError(
                f"{self.name}: the server wrote {len(tokens)} tokens and showed {len(rows)} distributions"
            )
        # Of the end of an answer some versions tell the distribution alone.
        tokens += [int(row["id"]) for row in rows[len(tokens) :]]
        return Answer(tokens[:steps], [self._logs(row) for row in rows][:steps])

    def along(self, ids: list[int], answer: list[int]) -> list[Logs]:
        """See `ServedModel`."""
        steps = [self._rows(self._ask(ids + answer[:place], 1)) for place in range(len(answer))]
        return [self._logs(rows[0]) for rows in steps]

    def _ask(self, ids: list[int], steps: int) -> dict[str, Any]:
        body = {
            "prompt": ids,
            "n_predict": steps,
            "temperature": -1.0,  # the likeliest token; above or at 0 the distribution shown may be another
            "n_probs": 1 if self.access == "text" else self.vocabulary,
            "post_sampling_probs": False,
            "cache_prompt": False,  # what it keeps of other prompts moves the numbers a little
            "return_tokens": True,
        }
        return self.client.post("/completion", body, tokens=len(ids) + steps)

    def _rows(self, found: dict[str, Any]) -> list[dict[str, Any]]:
        rows = found.get("completion_probabilities")
        if not isinstance(rows, list) or not rows:
            if self.access == "text" and found.get("tokens"):
                return []
            raise ServiceError(
                f"{self.name}: the server showed no log-probabilities; is it llama.cpp's, and a recent one?"
            )
        return rows

    def _logs(self, row: dict[str, Any]) -> Logs:
        return {int(entry["id"]): float(entry["logprob"]) for entry in row.get("top_logprobs") or []}
