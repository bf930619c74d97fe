"""A causal model of transformers that runs here."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from unembed.errors import InputError
from unembed_lm.embedders.base import Access, PromptEmbedder, choose_tokens
from unembed_lm.embedders.frame import Frame
from unembed_lm.embedders.llama import LlamaPasses
from unembed_lm.embedders.passes import Passes, TransformerPasses
from unembed_lm.layout import ABSENT

__all__ = ["LocalModel", "passes_of"]

MORE = 100  # tokens whose log-probabilities are read, beyond as many as the model is wide
AT_ONCE = {"cpu": 2048, "cuda": 2**17}  # tokens that go through the model at once


class LocalModel(PromptEmbedder):
    """See `PromptEmbedder`. What stands before every prompt is read once, and rows of like length go together.

    Padding is on the right, where causal attention doesn't see it: a row's embedding doesn't depend on its batch.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        frame: Frame,
        *,
        name: str,
        steps: int,
        width: int,
        access: Access,
        seed: int,
        tokens: int | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if access == "biased":
            raise InputError(f"{name}: access=biased is for servers; a model that runs here shows everything")
        self.model = model.to(device).eval().requires_grad_(False)
        head = model.get_output_embeddings()
        if not isinstance(head, nn.Linear):
            raise InputError(f"{name}: it has no linear map from states to tokens, as causal language models have")
        self.head, self.cap = head, getattr(model.config, "final_logit_softcapping", None)
        vocabulary = min(len(head.weight), len(tokenizer))
        chosen = choose_tokens(tokens or model.config.get_text_config().hidden_size + MORE, vocabulary, seed)
        ends = model.generation_config.eos_token_id if model.generation_config is not None else None
        ends = [ends] if isinstance(ends, int) else list(ends or [])
        self.ends = torch.tensor(sorted({*ends, tokenizer.eos_token_id} - {None}), device=device)
        self._chosen = torch.tensor(chosen, device=device)
        self._after = torch.tensor(frame.after, dtype=torch.long, device=device)
        self._before = torch.tensor(frame.before, dtype=torch.long, device=device)
        longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        if longest is not None and len(frame.before) + width + len(frame.after) + steps > longest:
            raise InputError(
                f"{name}: a prompt of {width} tokens in its template is longer than the {longest} it reads"
            )
        super().__init__(
            name=name,
            tokenizer=tokenizer,
            frame=frame,
            tokens=chosen,
            steps=steps,
            width=width,
            access=access,
            device=device,
        )
        self.passes = passes_of(model, self._before)
        self._check_head()

    def halved(self, dtype: torch.dtype = torch.bfloat16) -> "LocalModel":
        """A copy in half precision, for training."""
        other = copy.copy(self)
        other.model = copy.deepcopy(self.model).to(dtype)
        other.head = other.model.get_output_embeddings()
        other.passes = passes_of(other.model, self._before)
        return other

    def compile_layers(self) -> None:
        """Compile what repeats in the model, where that takes seconds: in a Llama."""
        if isinstance(self.passes, LlamaPasses):
            self.passes.compile()

    @torch.no_grad()
    def drawn(self, rows: int, length: int, temperature: float, generator: torch.Generator) -> Iterator[Tensor]:
        """Up to `length` tokens `[rows]`, one after the other, sampled from where a prompt begins.

        Raises InputError for a model that begins with nothing, or that keeps no plain cache.
        """
        passes, size = self.passes, len(self._before)
        if not passes.begins:
            raise InputError(f"{self.name}: prompts are written by models with a chat template and plain attention")
        # The last token of what stands before prompts is read again, now for its state.
        kept, token = passes.begin(rows, length), self._before[-1].expand(rows)
        for step in range(length):
            state = passes.write(token, torch.full_like(token, size - 1 + step), kept)
            logits = self._logits(state)[:, : len(self.tokenizer)] / temperature
            noise = torch.rand(logits.shape, device=logits.device, generator=generator).clamp_(1e-10, 1 - 1e-7)
            token = (logits - noise.log_().neg_().log_()).argmax(-1)  # a sample, by the Gumbel maximum
            yield token

    def _own(self, prompts: Tensor, continuation: Tensor) -> tuple[Tensor, Tensor]:
        ratios = self._empty(len(prompts))
        written = torch.full_like(continuation, ABSENT)
        for rows, ids, sizes in self._packed(prompts):
            states, tokens = self._written(ids, sizes)
            ratios[rows, : states.shape[1]] = self._ratios(states)
            written[rows, : tokens.shape[1]] = tokens
        return ratios, written

    def _forced(self, prompts: Tensor, continuation: Tensor) -> tuple[Tensor, Tensor]:
        ratios = self._empty(len(prompts))
        for rows, ids, sizes in self._packed(prompts, continuation):
            states, _ = self.passes.read(ids, sizes)
            here = int((continuation[rows] != ABSENT).sum(1).max())
            first = sizes - (continuation[rows, :-1] != ABSENT).sum(1) - 1
            place = (first[:, None] + torch.arange(here, device=ids.device)).clamp_max(ids.shape[1] - 1)
            picked = states.gather(1, place[..., None].expand(-1, -1, states.shape[-1]))
            ratios[rows, :here] = self._ratios(picked)
        return ratios, continuation

    def _empty(self, rows: int) -> Tensor:
        return torch.zeros(rows, self.layout.steps, self.layout.tokens, device=self.device)

    def _packed(self, prompts: Tensor, continuation: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Rows of like length: which, their ids `[R, L]` after what stands before prompts, and how many each has.

        The last token of a `continuation` `[N, T]` is left out: nothing is asked after it.
        """
        lengths = (prompts != ABSENT).sum(1)
        count = len(self._after)
        forced = None if continuation is None else continuation[:, :-1]
        sizes = lengths + count + (0 if forced is None else (forced != ABSENT).sum(1))
        order = sizes.argsort(descending=True, stable=True)
        most = AT_ONCE.get(self.device.type, 2048)
        start, listed = 0, sizes[order].tolist()
        while start < len(order):
            columns = listed[start]
            rows = order[start : start + max(1, most // (columns + len(self._before)))]
            start += len(rows)
            ids = torch.zeros(len(rows), columns, dtype=torch.long, device=self.device)
            width = min(columns, prompts.shape[1])
            ids[:, :width] = prompts[rows, :width].clamp_min(0)
            length = lengths[rows, None]
            ids.scatter_(1, length + torch.arange(count, device=ids.device), self._after.expand(len(rows), -1))
            if forced is not None:
                place = length + count + torch.arange(forced.shape[1], device=ids.device)
                tokens = forced[rows]
                # These places are zeros so far; where there is no token a place, perhaps another's, stays as it is.
                ids.scatter_reduce_(1, place.clamp_max(columns - 1), tokens.clamp_min(0), "amax")
            yield rows, ids, sizes[rows]

    def _written(self, ids: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """The states `[R, t, width]` before each token of the likeliest continuation, and that `[R, t]`, t ≤ steps."""
        steps, size = self.layout.steps, len(self._before)
        hidden, kept = self.passes.read(ids, sizes, steps - 1)
        last = _last(hidden, sizes)
        states, tokens = [], []
        done = torch.zeros_like(sizes, dtype=torch.bool)
        for step in range(steps):
            states.append(last)
            token = self._logits(last)[:, : len(self.tokenizer)].argmax(-1)
            tokens.append(token.masked_fill(done, ABSENT))
            done = done | torch.isin(token, self.ends)
            if step + 1 == steps or (not done.is_cuda and done.all()):
                break
            if kept is None:
                ids, sizes = _appended(ids, sizes, token)
                last = _last(self.passes.read(ids, sizes)[0], sizes)
            else:
                last = self.passes.write(token, size + sizes + step, kept)
        return torch.stack(states, 1), torch.stack(tokens, 1)

    def _logits(self, states: Tensor, rows: Tensor | None = None) -> Tensor:
        """The logits of all tokens, or of those of `rows`, after states `[..., width]`; in float32."""
        weight: Tensor = self.head.weight
        bias: Tensor | None = self.head.bias
        if rows is not None:
            weight, bias = weight[rows], None if bias is None else bias[rows]
        logits = nn.functional.linear(states, weight, bias).float()
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap

    def _ratios(self, states: Tensor) -> Tensor:
        """Log-ratios `[..., K]` after states `[..., width]`: what all logits share drops out."""
        if self.access == "text":
            return torch.zeros(*states.shape[:-1], self.layout.tokens, device=states.device)
        logits = self._logits(states, self._chosen)
        return logits - logits.mean(-1, keepdim=True)

    @torch.no_grad()
    def _check_head(self) -> None:
        """Raise InputError for a model that makes more of its states than logits by a linear map."""
        ids = torch.cat([self._before, self._after]) if len(self._before) + len(self._after) else self.ends[:1]
        states = self.model.base_model(input_ids=ids[None]).last_hidden_state[0, -1:]
        wanted = self.model(input_ids=ids[None]).logits[0, -1:].float()
        if not torch.allclose(self._logits(states), wanted, rtol=1e-3, atol=1e-3):
            raise InputError(f"{self.name}: its logits are no linear map of its last states; ask it through a server")


def passes_of(model: Any, before: Tensor) -> Passes:
    """The quickest way to a model's states after what stands before every prompt."""
    return LlamaPasses(model, before) if LlamaPasses.fits(model) else TransformerPasses(model, before)


def _last(hidden: Tensor, sizes: Tensor) -> Tensor:
    """The states `[R, width]` of the last of `sizes` tokens of each row."""
    return hidden.gather(1, (sizes - 1)[:, None, None].expand(-1, 1, hidden.shape[-1]))[:, 0]


def _appended(ids: Tensor, sizes: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
    """Ids `[R, L + 1]` with a token more at the end of each row, and their sizes."""
    ids = nn.functional.pad(ids, (0, 1))
    return ids.scatter(1, sizes[:, None], token[:, None]), sizes + 1
