"""Rows of a data set as the inputs that an endpoint would be asked with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelines.data.examples import Document, LabelledText, Question, TaggedSentence
from pipelines.errors import UserError
from pipelines.inference import answer_predictor
from pipelines.inference.class_predictor import TextOrPair
from pipelines.inference.predictor import Predictor, Text


def inputs_of(rows: Sequence[Any], predictor: type[Predictor]) -> list[Any]:
    """One of the predictor's `takes` for each row.

    Raises:
        UserError: the rows are not of the predictor's task, or are no texts.
    """
    return [_input(row, predictor) for row in rows]


def _input(row: Any, predictor: type[Predictor]) -> Any:
    match row:
        case TaggedSentence() if predictor.takes is Text:
            return Text(" ".join(row.words))
        case Document() | LabelledText() if predictor.takes is Text:
            return Text(row.text)
        case LabelledText() if predictor.takes is TextOrPair:
            return TextOrPair(row.text, row.pair)
        case Document() if predictor.takes is TextOrPair:
            return TextOrPair(row.text)
        case Question() if predictor.takes is answer_predictor.Question:
            return answer_predictor.Question(row.question, row.context)
    raise UserError(
        f"No baseline can be made of these rows ({type(row).__name__}) for this model ({predictor.takes.__name__}): "
        "models that label or score texts, find entities or answer questions have one. Serve the model without."
    )
