"""Rows as inputs."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.data.examples import Document, LabelledText, Question, TaggedSentence, Translated
from pipelines.errors import UserError
from pipelines.inference import answer_predictor
from pipelines.inference.answer_predictor import AnswerPredictor
from pipelines.inference.class_predictor import LabelPredictor, TextOrPair
from pipelines.inference.entity_predictor import EntityPredictor
from pipelines.inference.predictor import Predictor, Text
from pipelines.inference.text_predictor import TranslationPredictor
from pipelines.inference.vector_predictor import VectorPredictor
from pipelines.watch.asked import inputs_of


@pytest.mark.parametrize(
    ("row", "predictor", "given"),
    [
        (TaggedSentence(("In", "Oslo"), ("O", "B-LOC")), EntityPredictor, Text("In Oslo")),
        (Document("In Oslo"), EntityPredictor, Text("In Oslo")),
        (LabelledText("a", "b", ("x",)), LabelPredictor, TextOrPair("a", "b")),
        (Document("a"), LabelPredictor, TextOrPair("a")),
        (LabelledText("a", "b"), VectorPredictor, Text("a")),
        (Question("who", "Ada", ()), AnswerPredictor, answer_predictor.Question("who", "Ada")),
    ],
)
def test_a_row_becomes_what_the_endpoint_would_be_asked(row: Any, predictor: type[Predictor], given: Any) -> None:
    assert inputs_of([row], predictor) == [given]


def test_rows_of_another_task_are_refused() -> None:
    with pytest.raises(UserError, match=r"of these rows \(Document\) for this model \(Question\)"):
        inputs_of([Document("a")], AnswerPredictor)
    with pytest.raises(UserError, match="No baseline can be made"):
        inputs_of([Translated("a", "b")], TranslationPredictor)
