"""Labels and numbers of whole texts, with models whose weights are random."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from pipelines.errors import UserError
from pipelines.inference.class_predictor import LabelPredictor, LabelsPredictor, NumberPredictor, TextOrPair
from pipelines.inference.predictors import load_predictor
from pipelines.inference.signature import signature_of
from pipelines.tasks import make_task
from tests.tiny import write_model

TEXTS = [TextOrPair("Ann left Oslo"), TextOrPair(""), TextOrPair("it rains in Rome " * 20), TextOrPair("Bob")]


def folder_of(task: str, labels: list[str], folder: Path) -> Path:
    write_model(folder, layers=1)
    torch.manual_seed(1)
    options = make_task(task).model_options(labels)
    AutoModelForSequenceClassification.from_pretrained(folder, **options).save_pretrained(folder)
    (folder / "task.json").write_text(f'{{"task": "{task}"}}')
    return folder


def test_every_text_gets_a_label_and_the_probability_of_each(tmp_path: Path) -> None:
    predictor = load_predictor(folder_of("sequence-classification", ["a", "b", "c"], tmp_path / "m"), threads=1)
    assert isinstance(predictor, LabelPredictor)
    found = predictor.predict(TEXTS)
    for output in found:
        assert sum(output.scores.values()) == pytest.approx(1)
        assert output.score == output.scores[output.label] == max(output.scores.values())
    alone = [predictor.predict([text])[0] for text in TEXTS]
    assert [output.label for output in found] == [output.label for output in alone]
    assert [output.score for output in found] == pytest.approx([output.score for output in alone], abs=1e-6)


def test_several_labels_are_those_likelier_than_not(tmp_path: Path) -> None:
    predictor = load_predictor(folder_of("multi-label-classification", ["a", "b", "c"], tmp_path / "m"), threads=1)
    assert isinstance(predictor, LabelsPredictor)
    for output in predictor.predict(TEXTS):
        assert output.labels == [label for label, score in output.scores.items() if score >= 0.5]


def test_a_regression_gives_a_number(tmp_path: Path) -> None:
    predictor = load_predictor(folder_of("regression", [], tmp_path / "m"), threads=1)
    assert isinstance(predictor, NumberPredictor)
    assert len({output.value for output in predictor.predict(TEXTS)}) == len(TEXTS)


def test_a_task_that_nothing_answers_for_is_an_error_that_lists_those_there_are(tmp_path: Path) -> None:
    folder = folder_of("sequence-classification", ["a"], tmp_path / "m")
    (folder / "task.json").write_text('{"task": "dancing"}')
    with pytest.raises(UserError, match=r"trained for 'dancing', which cannot be served; known: token-classification"):
        load_predictor(folder, threads=1)


def test_the_signature_tells_fields_and_which_may_be_left_out() -> None:
    signature = signature_of(LabelPredictor)
    assert [(column.name, column.required) for column in signature.inputs] == [("text", True), ("pair", False)]
    assert "scores: Map(str -> DataType.double)" in str(signature.outputs)
