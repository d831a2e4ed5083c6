"""A fine-tuned token classifier that reads raw text and answers with entities and their offsets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from transformers import AutoModelForTokenClassification, BatchEncoding, PreTrainedTokenizerFast

from pipelines.inference.entities import Entity, Tagged, join
from pipelines.inference.network import Network, is_here
from pipelines.inference.predictor import (
    Reading,
    ReadingPredictor,
    Text,
    longest_input,
    passes,
    read_network,
    readable,
    text_of,
)
from pipelines.inference.words import Punctuation, Word, read_punctuation, split_words

if TYPE_CHECKING:
    from pipelines.inference.explain import Explainer


@dataclass(frozen=True, slots=True)
class Entities:
    """What is found in a text."""

    entities: list[Entity]
    """In the order of the text."""


@dataclass(frozen=True, slots=True)
class _Window:
    """Words `first .. stop - 1` of a text, which the model reads in one piece."""

    first: int
    stop: int
    row: dict[str, list[int]]
    """What the model gets."""
    positions: list[int | None]
    """Of each of its sub-words the number of its word, counted from `first`."""
    words: list[Word]
    """Of the whole text."""

    def margin(self, word: int) -> int:
        """How many words of context the window gives `word` on its poorer side."""
        return min(word - self.first, self.stop - 1 - word)


class EntityPredictor(ReadingPredictor):
    takes, gives, hello = Text, Entities, Text("Hello")
    asks = "Finds the entities in a text. Offsets count Unicode code points, as Python does."
    example: ClassVar = (
        {"text": "Ada moved to Berlin."},
        {"entities": [{"type": "LOC", "start": 13, "end": 19, "text": "Berlin", "score": 0.998}]},
    )

    def __init__(
        self,
        model: Network,
        tokenizer: PreTrainedTokenizerFast,
        *,
        punctuation: Punctuation = "separate",
    ) -> None:
        model.eval()
        self._model = model
        self._tokenizer = tokenizer
        self._punctuation = punctuation
        names = {int(i): label for i, label in (model.config.id2label or {}).items()}
        self._labels = [names[i] for i in range(len(names))]
        self._limit = longest_input(model, tokenizer)

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", threads: int) -> EntityPredictor:
        model, tokenizer = read_network(folder, AutoModelForTokenClassification, device=device, threads=threads)
        return cls(model, tokenizer, punctuation=read_punctuation(folder))

    @property
    def labels(self) -> list[str]:
        """The model's labels by their number."""
        return list(self._labels)

    def explainer(self) -> Explainer | None:
        if not is_here(self._model):
            return None
        # Imported here: a registered model brings this file along, and answers without that one.
        from pipelines.inference.explain_entities import EntityExplainer

        return EntityExplainer(self._model, self._tokenizer, self._labels, punctuation=self._punctuation)

    def read(self, inputs: Sequence[Text]) -> list[Reading]:
        words = [split_words(given.text, punctuation=self._punctuation) for given in inputs]
        windows = self._windows(words)
        return [
            Reading(given, tuple(windows[i]), max((len(one.positions) for one in windows[i]), default=0))
            for i, given in enumerate(inputs)
        ]

    def answer(self, readings: Sequence[Reading]) -> list[Entities]:
        """The entities of every text, in the order of the texts; an empty text has none."""
        return [
            Entities(join(reading.given.text, words))
            for reading, words in zip(readings, self._tagged(readings), strict=True)
        ]

    def sample(self, length: int) -> Reading:
        (reading,) = self.read([Text(text_of(length, self._tokenizer))])
        return reading

    def words(self, inputs: Sequence[Text]) -> list[list[Tagged]]:
        """Of every text its words in their order, each with its likeliest label; those without a sub-word have none."""
        return self._tagged(self.read(inputs))

    def _tagged(self, readings: Sequence[Reading]) -> list[list[Tagged]]:
        pieces = [(i, window) for i, reading in enumerate(readings) for window in reading.pieces]
        best: list[dict[int, tuple[int, Tagged]]] = [{} for _ in readings]
        for numbers in passes([len(window.positions) for _, window in pieces]):
            batch = [pieces[n] for n in numbers]
            for (i, window), row in zip(batch, self._score([window for _, window in batch]), strict=True):
                for word, (label, score) in row.items():
                    margin, span = window.margin(word), window.words[word]
                    # Where windows overlap, the one that shows the word with most context decides.
                    if word not in best[i] or margin > best[i][word][0]:
                        best[i][word] = (margin, Tagged(span.start, span.end, label, score))
        return [[tagged for _, (_, tagged) in sorted(found.items())] for found in best]

    def _windows(self, words: list[list[Word]]) -> dict[int, list[_Window]]:
        """By the number of each text the windows that it is read in; a text without words has none."""
        found: dict[int, list[_Window]] = {i: [] for i in range(len(words))}
        present = [i for i, row in enumerate(words) if row]
        if not present:
            return found
        encoded = self._encoded([words[i] for i in present])
        for n, i in enumerate(present):
            positions = encoded.word_ids(n)
            if len(positions) <= self._limit:
                found[i] = [_window(encoded, n, 0, len(words[i]), words[i])]
                continue
            costs = [0] * len(words[i])
            for word in positions:
                if word is not None:
                    costs[word] += 1
            spans = list(self._spans(costs))
            cut = self._encoded([words[i][first:stop] for first, stop in spans], max_length=self._limit)
            found[i] = [_window(cut, m, *span, words[i]) for m, span in enumerate(spans)]
        return found

    def _encoded(self, words: list[list[Word]], max_length: int | None = None) -> BatchEncoding:
        rows = [[readable(word.text) for word in row] for row in words]
        cut = max_length is not None
        encoded: BatchEncoding = self._tokenizer(
            rows, is_split_into_words=True, truncation=cut, max_length=max_length, verbose=False
        )
        return encoded

    def _spans(self, costs: list[int]) -> Iterator[tuple[int, int]]:
        """Cut one text into pieces that fit the model; neighbours share a quarter of a piece.

        Args:
            costs: of each word its number of sub-words.
        """
        room = self._limit - self._tokenizer.num_special_tokens_to_add(pair=False)
        first = 0
        while True:
            stop, cost = first, 0
            # A word longer than the window stands alone and is truncated: its first sub-word is what counts.
            while stop < len(costs) and (stop == first or cost + costs[stop] <= room):
                cost += costs[stop]
                stop += 1
            yield first, stop
            if stop == len(costs):
                return
            shared, last = 0, first
            first = stop
            while first - 1 > last and shared + costs[first - 1] <= room // 4:
                first -= 1
                shared += costs[first]

    def _score(self, batch: list[_Window]) -> list[dict[int, tuple[str, float]]]:
        """One pass through the model: for each window label and probability of its words, by their number."""
        inputs = self._tokenizer.pad([window.row for window in batch], return_tensors="pt").to(self._model.device)
        with torch.inference_mode():
            # Prompt tuning puts tokens of its own in front of the input.
            logits = self._model(**inputs).logits[:, -inputs["input_ids"].shape[1] :]
            probabilities = logits.float().softmax(-1)
        scores, labels = (tensor.tolist() for tensor in probabilities.max(-1))
        # A tokenizer that pads on the left moves what the sub-words are.
        shift = [
            len(labels[0]) - len(window.positions) if self._tokenizer.padding_side == "left" else 0 for window in batch
        ]
        rows = []
        for i, window in enumerate(batch):
            row: dict[int, tuple[str, float]] = {}
            for position, local in enumerate(window.positions, shift[i]):
                # A word's first sub-word speaks for it, as in training; one without sub-words stays unsaid.
                if local is not None and (word := window.first + local) not in row:
                    row[word] = self._labels[labels[i][position]], scores[i][position]
            rows.append(row)
        return rows


def _window(encoded: BatchEncoding, n: int, first: int, stop: int, words: list[Word]) -> _Window:
    return _Window(first, stop, {name: encoded[name][n] for name in encoded}, encoded.word_ids(n), words)
