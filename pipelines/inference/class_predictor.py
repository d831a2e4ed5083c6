"""Fine-tuned classifiers of whole texts, or of pairs: one label, several labels, or a number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerFast

from pipelines.inference.predictor import TOKENS_PER_PASS, Predictor, longest_input, read_model, readable

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


class _TextPredictor(Predictor):
    """A text is read up to the longest input of the model; what is behind it does not count."""

    takes, hello = TextOrPair, TextOrPair("Hello")

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
        self._model, self._tokenizer = model.eval(), tokenizer
        names = {int(i): label for i, label in (model.config.id2label or {}).items()}
        self._labels = [names[i] for i in range(len(names))]
        self._limit = longest_input(model, tokenizer)

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", threads: int) -> _TextPredictor:
        return cls(*read_model(folder, AutoModelForSequenceClassification, device=device, threads=threads))

    @property
    def labels(self) -> list[str]:
        """The model's labels by their number."""
        return list(self._labels)

    def predict(self, inputs: Sequence[TextOrPair]) -> list[Any]:
        found: dict[int, Any] = {}
        for numbers, rows in self._batches(inputs):
            padded = self._tokenizer.pad(rows, return_tensors="pt").to(self._model.device)
            with torch.inference_mode():
                logits = self._model(**padded).logits.float().cpu()
            found.update(zip(numbers, map(self._output, logits), strict=True))
        return [found[i] for i in range(len(inputs))]

    def _batches(self, inputs: Sequence[TextOrPair]) -> Iterator[tuple[list[int], list[dict[str, Any]]]]:
        """Inputs of like length together, so that little of a pass is padding."""
        rows = [self._encoded(given) for given in inputs]
        numbers: list[int] = []
        for i in sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"])):
            if numbers and (len(numbers) + 1) * len(rows[i]["input_ids"]) > TOKENS_PER_PASS:
                yield numbers, [rows[n] for n in numbers]
                numbers = []
            numbers.append(i)
        if numbers:
            yield numbers, [rows[n] for n in numbers]

    def _encoded(self, given: TextOrPair) -> dict[str, Any]:
        pair = None if given.pair is None else readable(given.pair)
        return dict(self._tokenizer(readable(given.text), pair, truncation=True, max_length=self._limit))

    def _output(self, logits: Tensor) -> Any:
        raise NotImplementedError

    def _named(self, scores: Tensor) -> dict[str, float]:
        return dict(zip(self._labels, scores.tolist(), strict=True))


class LabelPredictor(_TextPredictor):
    gives = Label
    asks = "Says which label a text, or a pair of texts, has."
    example: ClassVar = (
        {"text": "Where is my card?"},
        {"label": "card_arrival", "score": 0.98, "scores": {"card_arrival": 0.98, "card_linking": 0.02}},
    )

    def _output(self, logits: Tensor) -> Label:
        scores = logits.softmax(-1)
        best = int(scores.argmax())
        return Label(self._labels[best], float(scores[best]), self._named(scores))


class LabelsPredictor(_TextPredictor):
    gives = Labels
    asks = "Says which labels a text, or a pair of texts, has: those likelier than not."
    example: ClassVar = (
        {"text": "Goal in the last minute"},
        {"labels": ["sports"], "scores": {"sports": 0.97, "politics": 0.01}},
    )

    def _output(self, logits: Tensor) -> Labels:
        scores = self._named(logits.sigmoid())
        return Labels([label for label, score in scores.items() if score >= SAID_FROM], scores)


class NumberPredictor(_TextPredictor):
    gives = Number
    asks = "Gives the number that belongs to a text, or to a pair of texts."
    example: ClassVar = ({"text": "Quite good."}, {"value": 3.8})

    def _output(self, logits: Tensor) -> Number:
        return Number(float(logits[0]))
