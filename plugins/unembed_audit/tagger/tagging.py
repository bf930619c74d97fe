"""From a text to findings by the tagger."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unembed.registry.weights import find_weights
from unembed_audit.findings.finding import Finding
from unembed_audit.tagger.labels import OUTSIDE, TAGS, spans_of
from unembed_audit.tagger.network import TaggerNetwork, base_folder, open_network

__all__ = ["Tagger", "shipped"]

WINDOW, STRIDE = 254, 190  # tokens that the encoder sees at once, and how far the window moves on longer texts
AT_ONCE = 32  # windows
SURE, PLAIN = 0.5, 0.9  # scores from which a span is a finding, and a plain word a password


def shipped() -> Path:
    """The file of the tagger that comes with the audit; raises MissingExtraError where it isn't installed."""
    return find_weights("tagger", Path(__file__).parent, "tagger.safetensors")


class Tagger:
    """Finds spans of every kind in texts; built by `Tagger.open`, or from a network and its tokenizer."""

    def __init__(self, network: TaggerNetwork, tokenizer: Any, *, device: torch.device | str = "cpu") -> None:
        self.network = network.eval().to(device)
        self.tokenizer = tokenizer
        self.device = torch.device(device)

    @classmethod
    def open(cls, path: Path | None = None, *, device: torch.device | str = "cpu") -> "Tagger":
        """The tagger of a file, the shipped one if None.

        Raises CheckpointError, and MissingExtraError where the shipped one or its encoder isn't installed.
        """
        from transformers import AutoTokenizer

        folder = base_folder()
        network, _ = open_network(path or shipped(), folder)
        return cls(network, AutoTokenizer.from_pretrained(folder), device=device)

    def __call__(self, texts: Sequence[str]) -> list[list[Finding]]:
        """Findings in each text, in order. A word's tag is the likeliest, its pieces' probabilities averaged."""
        found = []
        for text in texts:
            places, probabilities = self._words(text)
            best = probabilities.argmax(1).tolist() if len(places) else []
            spans = _joined(spans_of(best), [text[start:end] for start, end in places])
            made = [self._finding(text, places, probabilities, span) for span in spans]
            found.append([one for one in made if one.score >= SURE and _possible(one)])
        return found

    def _finding(
        self, text: str, places: Sequence[tuple[int, int]], probabilities: Tensor, span: tuple[int, int, str]
    ) -> Finding:
        first, last, kind = span
        columns = [TAGS.index(f"B-{kind}"), TAGS.index(f"I-{kind}")]
        score = float(probabilities[first:last, columns].sum(1).mean())
        start, end = places[first][0], places[last - 1][1]
        return Finding(kind, start, end, text[start:end], score, "tagger")

    def _words(self, text: str) -> tuple[list[tuple[int, int]], Tensor]:
        """The words of a text as start and end, and the probabilities of their tags `[W, T]`."""
        read = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False
        )
        ids, offsets, words = read["input_ids"], read["offset_mapping"], read.word_ids()
        if not ids:
            return [], torch.zeros(0, len(TAGS))
        tokens = self._probabilities(ids)
        count = max(words) + 1
        index = torch.tensor(words)
        summed = torch.zeros(count, len(TAGS)).index_add_(0, index, tokens)
        mean = summed / index.bincount(minlength=count)[:, None].clamp_min(1)
        places = [(len(text), 0)] * count
        for word, (start, end) in zip(words, offsets, strict=True):
            places[word] = (min(places[word][0], start), max(places[word][1], end))
        return places, mean

    @torch.no_grad()
    def _probabilities(self, ids: Sequence[int]) -> Tensor:
        """Of each token of a text; where windows overlap, of that one in which it stands farther from the edge."""
        starts = list(_starts(len(ids)))
        first, last = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        found, depth = torch.zeros(len(ids), len(TAGS)), torch.full((len(ids),), -1)
        found[:, OUTSIDE] = 1
        for group in range(0, len(starts), AT_ONCE):
            chosen = starts[group : group + AT_ONCE]
            rows = [[first, *ids[start : start + WINDOW], last] for start in chosen]
            longest = max(map(len, rows))
            padded = torch.tensor([row + [self.tokenizer.pad_token_id] * (longest - len(row)) for row in rows])
            mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
            scores = self.network(padded.to(self.device), mask.to(self.device)).float().softmax(-1).cpu()
            for start, row, values in zip(chosen, rows, scores, strict=True):
                inner = len(row) - 2
                away = torch.minimum(torch.arange(inner), torch.arange(inner - 1, -1, -1))
                better = away > depth[start : start + inner]
                found[start : start + inner][better] = values[1 : inner + 1][better]
                depth[start : start + inner][better] = away[better]
        return found


def _possible(finding: Finding) -> bool:
    """Whether a value can be of its kind at all: a telephone number has no letters, a document's number has digits."""
    value, size = finding.value, sum(map(str.isalnum, finding.value))
    if size < 2:
        return False
    if finding.kind == "phone":
        return re.search(r"[a-z]\d|\d[a-z]", value) is None and sum(map(str.isdigit, value)) > 3
    if finding.kind == "id":
        return any(map(str.isdigit, value)) or size > 4
    if finding.kind == "secret":
        return value[0].isalnum() and (finding.score >= PLAIN or not value.isalpha())
    return True


def _joined(spans: Iterable[tuple[int, int, str]], words: Sequence[str]) -> list[tuple[int, int, str]]:
    """Spans of which none begins with a full stop that belongs to the one before it, as in "dr" and ". webb"."""
    found: list[tuple[int, int, str]] = []
    for first, last, kind in spans:
        if found and found[-1][1:] == (first, kind) and words[first] == ".":
            found[-1] = (found[-1][0], last, kind)
        else:
            found.append((first, last, kind))
    return found


def _starts(length: int) -> Iterator[int]:
    start = 0
    while True:
        yield start
        if start + WINDOW >= length:
            return
        start += STRIDE
