"""A model's own labels of texts, with how sure it is of them. A task is one function here, and one line."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.errors import UserError
from pipelines.inference.class_predictor import LabelPredictor, LabelsPredictor, TextOrPair
from pipelines.inference.entities import Tagged, join
from pipelines.inference.entity_predictor import EntityPredictor
from pipelines.inference.predictor import Predictor, Text


@dataclass(frozen=True, slots=True)
class Guess:
    """What the model takes a text for."""

    row: Mapping[str, Any]
    """As a row of training data."""
    sure: float
    """The probability of what it is least sure of: of the label, or of a word's tag."""
    doubt: float
    """Minus the mean logarithm of all these probabilities: a long text is no more doubtful than a short one for its
    length (MNLP, Shen et al. 2018, section 4)."""
    labels: tuple[str, ...]
    """What it found, for a count."""


def guess(predictor: Predictor, texts: Sequence[str]) -> list[Guess]:
    """One for each text.

    Raises:
        UserError: the model's task has no labels.
    """
    for kind, one in GUESSERS.items():
        if isinstance(predictor, kind):
            return one(predictor, texts)
    raise UserError(
        "Only models that find entities or labels of whole texts can label texts: the answers of this one are no "
        "training rows with a probability. Give a model of token-, sequence- or multi-label-classification."
    )


def _label(predictor: Any, texts: Sequence[str]) -> list[Guess]:
    found = predictor.predict([TextOrPair(text) for text in texts])
    return [
        _guess({"text": text, "label": one.label}, [one.score], [one.label])
        for text, one in zip(texts, found, strict=True)
    ]


def _labels(predictor: Any, texts: Sequence[str]) -> list[Guess]:
    found = predictor.predict([TextOrPair(text) for text in texts])
    return [
        _guess({"text": text, "labels": one.labels}, [max(p, 1 - p) for p in one.scores.values()], one.labels)
        for text, one in zip(texts, found, strict=True)
    ]


def _tags(predictor: Any, texts: Sequence[str]) -> list[Guess]:
    return [
        _tagged(text, words) for text, words in zip(texts, predictor.words([Text(text) for text in texts]), strict=True)
    ]


def _tagged(text: str, words: Sequence[Tagged]) -> Guess:
    entities = join(text, words)
    tags = ["O"] * len(words)
    for entity in entities:
        for at, word in enumerate(words):
            if entity.start <= word.start < entity.end:
                tags[at] = f"{'B' if word.start == entity.start else 'I'}-{entity.type}"
    row = {"tokens": [text[word.start : word.end] for word in words], "tags": tags}
    return _guess(row, [word.score for word in words], [entity.type for entity in entities])


def _guess(row: Mapping[str, Any], probabilities: Sequence[float], labels: Sequence[str]) -> Guess:
    """A text without anything to be said of it is nothing to learn from: the model is not sure of it at all."""
    logarithms = [math.log(max(p, 1e-12)) for p in probabilities]
    doubt = -math.fsum(logarithms) / len(logarithms) if logarithms else 0.0
    return Guess(row, min(probabilities, default=0.0), doubt, tuple(labels))


GUESSERS: Mapping[type[Predictor], Callable[[Any, Sequence[str]], list[Guess]]] = {
    LabelPredictor: _label,
    LabelsPredictor: _labels,
    EntityPredictor: _tags,
}
