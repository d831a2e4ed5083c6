"""How far two answers are the same."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from pipelines.inference.predictor import Predictor
from pipelines.inference.predictors import PREDICTORS
from pipelines.versions.agreement import COMPARE, agreement


def entity(kind: str, start: int, end: int, score: float = 0.9) -> dict[str, Any]:
    return {"type": kind, "start": start, "end": end, "score": score}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"label": "a", "score": 0.9}, {"label": "a", "score": 0.4}, 1),
        ({"label": "a"}, {"label": "b"}, 0),
        ({"labels": ["a", "b"]}, {"labels": ["b", "a"]}, 1),
        ({"labels": ["a", "b"]}, {"labels": ["a"]}, 2 / 3),
        ({"labels": []}, {"labels": []}, 1),
        ({"entities": [entity("LOC", 0, 4)]}, {"entities": [entity("LOC", 0, 4, 0.1)]}, 1),
        ({"entities": [entity("LOC", 0, 4), entity("PER", 5, 8)]}, {"entities": [entity("LOC", 0, 4)]}, 2 / 3),
        ({"entities": [entity("LOC", 0, 4)]}, {"entities": [entity("LOC", 0, 5)]}, 0),
        ({"value": 4.0}, {"value": 3.0}, 0.75),
        ({"value": 0.0}, {"value": 0.0}, 1),
        ({"answer": "Oslo", "start": 1}, {"answer": "Oslo"}, 1),
        ({"answer": None}, {"answer": "Oslo"}, 0),
        ({"vector": [0.6, 0.8]}, {"vector": [0.8, 0.6]}, 0.96),
        ({"vector": [1.0]}, {"vector": [-1.0]}, 0),
        ({"vector": [1.0]}, {"vector": [1.0, 0.0]}, 0),
        ({"gaps": [[{"text": "a"}], [{"text": "b"}]]}, {"gaps": [[{"text": "a"}], []]}, 0.5),
        ({"text": "Good", "left_out": 0}, {"text": "Good"}, 1),
    ],
)
def test_what_says_the_same_agrees(one: dict[str, Any], other: dict[str, Any], expected: float) -> None:
    assert agreement(one, other) == pytest.approx(expected)
    assert agreement(other, one) == pytest.approx(expected)


@pytest.mark.parametrize("predictor", PREDICTORS.values(), ids=lambda predictor: predictor.__name__)
def test_the_output_of_every_predictor_can_be_compared(predictor: type[Predictor]) -> None:
    assert len({field.name for field in fields(predictor.gives)} & set(COMPARE)) == 1
    output = predictor.example[1]
    assert agreement(output, output) == pytest.approx(1)


def test_outputs_of_two_tasks_are_not_compared() -> None:
    with pytest.raises(KeyError):
        agreement({"label": "a"}, {"value": 1.0})
    with pytest.raises(ValueError, match="compared by one of entities, label"):
        agreement({"x": 1}, {"x": 1})
