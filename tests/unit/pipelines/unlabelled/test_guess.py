"""What a model takes texts for, as rows that its own task reads."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from pipelines.config import DataConfig
from pipelines.data.read import read_split
from pipelines.errors import UserError
from pipelines.inference.predictors import load_predictor
from pipelines.tasks import make_task
from pipelines.unlabelled.choose import lines
from pipelines.unlabelled.guess import GUESSERS, guess
from tests.unit.pipelines.inference.test_every_predictor import saved

TEXTS = ["Ann left Oslo", "it rains, Bob", "", "Bob Lee met Carl in Rome"]
NAMES = ("token-classification", "sequence-classification", "multi-label-classification")


@pytest.mark.parametrize("name", NAMES)
def test_its_rows_are_training_rows_of_its_task(name: str, tmp_path: Path) -> None:
    found = guess(load_predictor(saved(name, tmp_path), threads=1), TEXTS)
    kept = [one for text, one in zip(TEXTS, found, strict=True) if text]
    (tmp_path / "train.jsonl").write_text(lines([one.row for one in kept]), encoding="utf-8")
    table = read_split(str(tmp_path / "train.jsonl"), split="train", data=DataConfig(), kind=make_task(name).kind)
    assert len(table.rows) == len(kept)
    for one in kept:
        assert 0 < one.sure < 1
        # No probability is below the least, nor their mean.
        assert math.exp(-one.doubt) >= one.sure - 1e-9


def test_a_text_without_words_is_never_sure(tmp_path: Path) -> None:
    assert guess(load_predictor(saved(NAMES[0], tmp_path), threads=1), [""])[0].sure == 0


def test_a_model_without_labels_is_refused(tmp_path: Path) -> None:
    predictor = load_predictor(saved("regression", tmp_path), threads=1)
    with pytest.raises(UserError, match=r"are no training rows with a probability"):
        guess(predictor, TEXTS)


def test_each_of_these_predictors_has_a_test() -> None:
    assert len(GUESSERS) == len(NAMES)
