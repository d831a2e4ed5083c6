"""What is counted of each kind of output, and that no text is."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.inference.answer_predictor import Answer
from pipelines.inference.class_predictor import Label, Labels, Number
from pipelines.inference.entities import Entity
from pipelines.inference.entity_predictor import Entities
from pipelines.inference.mask_predictor import Guess, Guesses
from pipelines.inference.predictors import PREDICTORS
from pipelines.inference.text_predictor import Written
from pipelines.inference.vector_predictor import Vector
from pipelines.watch.said import NONE, READERS, Said, said

FOUND = [Entity("LOC", 0, 4, "Oslo", 0.5), Entity("PER", 5, 8, "Ada", 0.75)]


@pytest.mark.parametrize(
    ("output", "counted"),
    [
        (Label("spam", 0.75, {"spam": 0.75, "ham": 0.25}), Said(("spam",), (0.75,))),
        (Labels(["a"], {"a": 0.875, "b": 0.25}), Said(("a",), (0.75,))),
        (Labels([], {"a": 0.25}), Said((NONE,), (0.75,))),
        (Entities(FOUND), Said(("LOC", "PER"), (0.5, 0.75))),
        (Entities([]), Said((NONE,), ())),
        (Answer("Oslo", 0, 4, 0.5), Said(("answer",), (0.5,))),
        (Answer(None, None, None, 0.5), Said((NONE,), (0.5,))),
        (Guesses([[Guess("Oslo", 0.5), Guess("Rome", 0.25)], []]), Said((), (0.5,))),
        (Number(3.0), Said()),
        (Vector([0.5]), Said()),
        (Written("Oslo", True, 0), Said()),
    ],
)
def test_labels_and_confidences_are_counted(output: Any, counted: Said) -> None:
    assert said(output) == counted


def test_every_reader_is_of_what_a_predictor_gives() -> None:
    assert set(READERS) <= {predictor.gives for predictor in PREDICTORS.values()}
