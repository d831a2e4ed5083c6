"""Fine-tuned classifiers of whole texts, or of pairs: one label, several labels, or a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

from pipelines.inference.network import Network, is_here
from pipelines.inference.predictor import (
    Reading,
    ReadingPredictor,
    longest_input,
    passes,
    read_network,
    readable,
    text_of,
)

if TYPE_CHECKING:
    from pipelines.inference.explain import Explainer

SAID_FROM = 0.5
"""The probability from which one of several labels is said."""


@dataclass(frozen=True, slots=True)
class TextOrPair:
    """A text, or two of which something is said together."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    text: str
    pair: str | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """The likeliest label."""

    label: str
    score: float
    """Its probability."""
    scores: dict[str, float]
    """Of every label."""


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels that are likelier than not."""

    labels: list[str]
    scores: dict[str, float]
    """Of every label."""


@dataclass(frozen=True, slots=True)
class Number:
    value: float


def labels_of(model: Network) -> list[str]:
    """By their number."""
    names = {int(i): label for i, label in (model.config.id2label or {}).items()}
    return [names[i] for i in range(len(names))]


def likeliest(logits: Tensor, labels: Sequence[str]) -> Label:
    """From the logits of every label [labels]."""
    scores = logits.softmax(-1)
    best = int(scores.argmax())
    return Label(labels[best], float(scores[best]), dict(zip(labels, scores.tolist(), strict=True)))


class _TextPredictor(ReadingPredictor):
    """A text is read up to the longest input of the model; what is behind it does not count."""

    takes, hello = TextOrPair, TextOrPair("Hello")

    def __init__(self, model: Network, tokenizer: PreTrainedTokenizerFast) -> None:
        self._model, self._tokenizer = model.eval(), tokenizer
        self._labels = labels_of(model)
        self._limit = longest_input(model, tokenizer)

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", threads: int) -> _TextPredictor:
        return cls(*read_network(folder, AutoModelForSequenceClassification, device=device, threads=threads))

    @property
    def labels(self) -> list[str]:
        """The model's labels by their number."""
        return list(self._labels)

    def read(self, inputs: Sequence[TextOrPair]) -> list[Reading]:
        rows = [self._encoded(given) for given in inputs]
        return [Reading(given, (row,), len(row["input_ids"])) for given, row in zip(inputs, rows, strict=True)]

    def answer(self, readings: Sequence[Reading]) -> list[Any]:
        rows = [row for reading in readings for row in reading.pieces]
        found: dict[int, Any] = {}
        for numbers in passes([len(row["input_ids"]) for row in rows]):
            padded = self._tokenizer.pad([rows[n] for n in numbers], return_tensors="pt").to(self._model.device)
            with torch.inference_mode():
                logits = self._model(**padded).logits.float().cpu()
            found.update(zip(numbers, map(self._output, logits), strict=True))
        return [found[i] for i in range(len(readings))]

    def sample(self, length: int) -> Reading:
        (reading,) = self.read([TextOrPair(text_of(length, self._tokenizer))])
        return reading

    def _encoded(self, given: TextOrPair) -> dict[str, Any]:
        pair = None if given.pair is None else readable(given.pair)
        return dict(self._tokenizer(readable(given.text), pair, truncation=True, max_length=self._limit))

    def explainer(self) -> Explainer | None:
        if not is_here(self._model):
            return None
        # Imported here: a registered model brings this file along, and answers without that one.
        from pipelines.inference.explain_texts import TextExplainer

        return TextExplainer(self._model, self._tokenizer, self._labels, self._scores)

    def _scores(self, logits: Tensor) -> Tensor:
        """What is said of every label, from logits [..., labels]."""
        raise NotImplementedError

    def _output(self, logits: Tensor) -> Any:
        raise NotImplementedError


class LabelPredictor(_TextPredictor):
    gives = Label
    asks = "Says which label a text, or a pair of texts, has."
    example: ClassVar = (
        {"text": "Where is my card?"},
        {"label": "card_arrival", "score": 0.98, "scores": {"card_arrival": 0.98, "card_linking": 0.02}},
    )

    def _scores(self, logits: Tensor) -> Tensor:
        return logits.softmax(-1)

    def _output(self, logits: Tensor) -> Label:
        return likeliest(logits, self._labels)


class LabelsPredictor(_TextPredictor):
    gives = Labels
    asks = "Says which labels a text, or a pair of texts, has: those likelier than not."
    example: ClassVar = (
        {"text": "Goal in the last minute"},
        {"labels": ["sports"], "scores": {"sports": 0.97, "politics": 0.01}},
    )

    def _scores(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def _output(self, logits: Tensor) -> Labels:
        scores = dict(zip(self._labels, self._scores(logits).tolist(), strict=True))
        return Labels([label for label, score in scores.items() if score >= SAID_FROM], scores)


class NumberPredictor(_TextPredictor):
    gives = Number
    asks = "Gives the number that belongs to a text, or to a pair of texts."
    example: ClassVar = ({"text": "Quite good."}, {"value": 3.8})

    def _scores(self, logits: Tensor) -> Tensor:
        return logits

    def _output(self, logits: Tensor) -> Number:
        return Number(float(logits[0]))
