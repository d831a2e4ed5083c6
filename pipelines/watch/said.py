"""What an output says, as far as it can be counted: its labels, and how sure of them the model is. No text.

A predictor whose outputs have either is one function here, and one line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.inference.answer_predictor import Answer
from pipelines.inference.class_predictor import Label, Labels
from pipelines.inference.entity_predictor import Entities
from pipelines.inference.mask_predictor import Guesses

NONE = "none"
"""In the place of a label where an output has none: that more or fewer of them are found is worth knowing, too."""


@dataclass(frozen=True, slots=True)
class Said:
    labels: tuple[str, ...] = ()
    """Names that the model itself has, never a piece of a text."""
    confidences: tuple[float, ...] = ()
    """Probabilities, 0 to 1."""


def said(output: Any) -> Said:
    """What can be counted of an output; nothing of one that is a number, a vector or a text."""
    read = READERS.get(type(output))
    return Said() if read is None else read(output)


def _label(output: Label) -> Said:
    return Said((output.label,), (output.score,))


def _labels(output: Labels) -> Said:
    # The least sure of all its decisions, that a label is not there among them.
    sure = min((max(score, 1 - score) for score in output.scores.values()), default=1.0)
    return Said(tuple(output.labels) or (NONE,), (sure,))


def _entities(output: Entities) -> Said:
    found = output.entities
    return Said(tuple(entity.type for entity in found) or (NONE,), tuple(entity.score for entity in found))


def _answer(output: Answer) -> Said:
    return Said((NONE if output.answer is None else "answer",), (output.score,))


def _guesses(output: Guesses) -> Said:
    return Said((), tuple(guesses[0].score for guesses in output.gaps if guesses))


READERS: Mapping[type, Callable[[Any], Said]] = {
    Label: _label,
    Labels: _labels,
    Entities: _entities,
    Answer: _answer,
    Guesses: _guesses,
}
