"""Questions and pairs of texts."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import DataConfig
from pipelines.data.examples import LabelledText, Question
from pipelines.data.kind import ExampleKind
from pipelines.data.matched import MATCHED
from pipelines.data.questions import QUESTIONS
from pipelines.data.read import read_split
from pipelines.errors import UserError


def read(path: Path, kind: ExampleKind, text: str) -> list[Any]:
    path.write_text(text, encoding="utf-8")
    return read_split(str(path), split="train", data=DataConfig(), kind=kind).rows


def test_answers_are_as_squad_has_them_or_in_columns_of_their_own(tmp_path: Path) -> None:
    row = {"question": "who", "context": "Ann left", "answers": {"text": ["Ann", "Ann"], "answer_start": [0, 0]}}
    found = Question("who", "Ann left", (("Ann", 0),))
    assert read(tmp_path / "a.jsonl", QUESTIONS, json.dumps(row)) == [found]
    assert read(tmp_path / "a.csv", QUESTIONS, "question,context,answer,start\nwho,Ann left,Ann,0\n") == [found]
    none = Question("who", "Ann left", ())
    assert read(tmp_path / "b.csv", QUESTIONS, "question,context,answer,start\nwho,Ann left,,\n") == [none]
    assert read(tmp_path / "b.jsonl", QUESTIONS, '{"question": "who", "context": "Ann left"}') == [none]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ("Ann", r"line 1: the answers are 'Ann' \(str\), where"),
        ({"text": ["Ann"], "answer_start": []}, r"line 1: 1 answers have 0 places"),
        ({"text": ["Ann"], "answer_start": [1]}, r"the answer 'Ann' does not stand at character 1 of its text"),
        ({"text": ["Ann"], "answer_start": [-8]}, r"the answer 'Ann' does not stand at character -8"),
        ({"text": ["Ann"], "answer_start": ["0"]}, r"found the answer 'Ann' at '0'; an answer is text"),
    ],
)
def test_a_faulty_answer_is_an_error_that_names_its_row(tmp_path: Path, answers: object, message: str) -> None:
    row = {"question": "who", "context": "Ann left", "answers": answers}
    with pytest.raises(UserError, match=message):
        read(tmp_path / "a.jsonl", QUESTIONS, json.dumps(row))


def test_pairs_go_by_many_names(tmp_path: Path) -> None:
    pair = LabelledText("where is my card", "It is on its way.")
    rows = '{"query": "where is my card", "answer": "It is on its way."}'
    assert read(tmp_path / "a.jsonl", MATCHED, rows) == [pair]
    with pytest.raises(UserError, match=r"no column 'positive', 'answer', .* for what belongs to them"):
        read(tmp_path / "b.jsonl", MATCHED, '{"query": "where"}')
