"""A fine-tuned token classifier that reads raw text and answers with entities and their offsets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from transformers import AutoModelForTokenClassification, PreTrainedModel, PreTrainedTokenizerFast

from pipelines.inference.entities import Entity, Tagged, join
from pipelines.inference.predictor import Predictor, Text, longest_input, passes, read_model, readable
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
    """Words `first .. stop - 1` of text `text`, which the model reads in one piece."""

    text: int
    first: int
    stop: int
    cost: int

    def margin(self, word: int) -> int:
        """How many words of context the window gives `word` on its poorer side."""
        return min(word - self.first, self.stop - 1 - word)


class EntityPredictor(Predictor):
    takes, gives, hello = Text, Entities, Text("Hello")
    asks = "Finds the entities in a text. Offsets count Unicode code points, as Python does."
    example: ClassVar = (
        {"text": "Ada moved to Berlin."},
        {"entities": [{"type": "LOC", "start": 13, "end": 19, "text": "Berlin", "score": 0.998}]},
    )

    def __init__(
        self,
        model: PreTrainedModel,
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
        model, tokenizer = read_model(folder, AutoModelForTokenClassification, device=device, threads=threads)
        return cls(model, tokenizer, punctuation=read_punctuation(folder))

    @property
    def labels(self) -> list[str]:
        """The model's labels by their number."""
        return list(self._labels)

    def explainer(self) -> Explainer:
        # Imported here: a registered model brings this file along, and answers without that one.
        from pipelines.inference.explain_entities import EntityExplainer

        return EntityExplainer(self._model, self._tokenizer, self._labels, punctuation=self._punctuation)

    def predict(self, inputs: Sequence[Text]) -> list[Entities]:
        """The entities of every text, in the order of the texts; an empty text has none."""
        return [Entities(join(given.text, words)) for given, words in zip(inputs, self.words(inputs), strict=True)]

    def words(self, inputs: Sequence[Text]) -> list[list[Tagged]]:
        """Of every text its words in their order, each with its likeliest label; those without a sub-word have none."""
        texts = [given.text for given in inputs]
        words = [split_words(text, punctuation=self._punctuation) for text in texts]
        windows = [window for i, costs in self._costs(words) for window in self._windows(i, costs)]
        best: list[dict[int, tuple[int, Tagged]]] = [{} for _ in texts]
        for numbers in passes([window.cost for window in windows]):
            batch = [windows[n] for n in numbers]
            for window, row in zip(batch, self._score(batch, words), strict=True):
                found = best[window.text]
                for word, tagged in row.items():
                    margin = window.margin(word)
                    # Where windows overlap, the one that shows the word with most context decides.
                    if word not in found or margin > found[word][0]:
                        found[word] = (margin, tagged)
        return [[tagged for _, (_, tagged) in sorted(found.items())] for found in best]

    def _costs(self, words: list[list[Word]]) -> Iterator[tuple[int, list[int]]]:
        """For each text that has words, its number and how many sub-words each of its words becomes."""
        present = [i for i, row in enumerate(words) if row]
        if not present:
            return
        rows = [_clean(words[i]) for i in present]
        encoded = self._tokenizer(rows, is_split_into_words=True, add_special_tokens=False, verbose=False)
        for row, i in enumerate(present):
            costs = [0] * len(words[i])
            for word in encoded.word_ids(row):
                if word is not None:
                    costs[word] += 1
            yield i, costs

    def _windows(self, text: int, costs: list[int]) -> Iterator[_Window]:
        """Cut one text into pieces that fit the model; neighbours share a quarter of a piece."""
        room = self._limit - self._tokenizer.num_special_tokens_to_add(pair=False)
        first = 0
        while True:
            stop, cost = first, 0
            # A word longer than the window stands alone and is truncated: its first sub-word is what counts.
            while stop < len(costs) and (stop == first or cost + costs[stop] <= room):
                cost += costs[stop]
                stop += 1
            yield _Window(text, first, stop, min(cost, room))
            if stop == len(costs):
                return
            shared, last = 0, first
            first = stop
            while first - 1 > last and shared + costs[first - 1] <= room // 4:
                first -= 1
                shared += costs[first]

    def _score(self, batch: list[_Window], words: list[list[Word]]) -> list[dict[int, Tagged]]:
        """One pass through the model: each window's words by their number in their text."""
        encoded = self._tokenizer(
            [_clean(words[window.text][window.first : window.stop]) for window in batch],
            is_split_into_words=True,
            truncation=True,
            max_length=self._limit,
            padding=True,
            return_tensors="pt",
        )
        inputs: dict[str, Any] = {name: tensor.to(self._model.device) for name, tensor in encoded.items()}
        with torch.inference_mode():
            # Prompt tuning puts tokens of its own in front of the input.
            logits = self._model(**inputs).logits[:, -inputs["input_ids"].shape[1] :]
            probabilities = logits.float().softmax(-1)
        scores, labels = (tensor.tolist() for tensor in probabilities.max(-1))
        rows = []
        for i, window in enumerate(batch):
            row: dict[int, Tagged] = {}
            for position, local in enumerate(encoded.word_ids(i)):
                # A word's first sub-word speaks for it, as in training; one without sub-words stays unsaid.
                if local is not None and (word := window.first + local) not in row:
                    span = words[window.text][word]
                    row[word] = Tagged(span.start, span.end, self._labels[labels[i][position]], scores[i][position])
            rows.append(row)
        return rows


def _clean(words: list[Word]) -> list[str]:
    return [readable(word.text) for word in words]
