"""Texts with one label, with several, and with a number."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from pipelines.config import DataConfig
from pipelines.data.examples import LabelledText, Table
from pipelines.data.kind import ExampleKind
from pipelines.data.labelled import ONE_LABEL, ONE_NUMBER, SEVERAL_LABELS
from pipelines.data.read import read_split
from pipelines.errors import UserError
from pipelines.tasks import make_task
from tests.tiny import write_model


def read(path: Path, kind: ExampleKind, text: str, **settings: Any) -> Table[LabelledText]:
    path.write_text(text, encoding="utf-8", newline="")
    return read_split(str(path), split="train", data=DataConfig.model_validate(settings), kind=kind)


def test_json_lines_hold_a_text_and_its_label(tmp_path: Path) -> None:
    table = read(tmp_path / "a.jsonl", ONE_LABEL, '{"text": "good", "label": "yes"}\n{"text": "", "label": 0}\n')
    assert table == Table(
        [LabelledText("good", None, ("yes",)), LabelledText("", None, ("0",))], 0, frozenset({"yes", "0"})
    )


def test_a_second_text_is_taken_where_there_is_one(tmp_path: Path) -> None:
    table = read(tmp_path / "a.csv", ONE_LABEL, 'sentence1,sentence2,label\n"a, b",c,same\n')
    assert table.rows == [LabelledText("a, b", "c", ("same",))]


def test_a_table_without_a_header_has_numbered_columns(tmp_path: Path) -> None:
    table = read(tmp_path / "a.tsv", ONE_LABEL, 'say "hi"\tgreeting\n', columns={"text": 1, "label": 2})
    assert table.rows == [LabelledText('say "hi"', None, ("greeting",))]


def test_several_labels_are_a_list_or_separated_by_spaces(tmp_path: Path) -> None:
    rows = [LabelledText("a", None, ("x", "y")), LabelledText("b", None, ())]
    lines = "".join(json.dumps({"text": row.text, "labels": row.labels}) + "\n" for row in rows)
    assert read(tmp_path / "a.jsonl", SEVERAL_LABELS, lines).rows == rows
    assert read(tmp_path / "a.csv", SEVERAL_LABELS, "text,labels\na,x y\nb,\n").rows == rows
    assert read(tmp_path / "a.csv", SEVERAL_LABELS, 'text,labels\na,"[""x"", ""y""]"\nb,[]\n').rows == rows


def test_a_number_is_read_as_one(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", ONE_NUMBER, "text,score\na,-1.5\n").rows == [LabelledText("a", None, (), -1.5)]
    assert read(tmp_path / "a.jsonl", ONE_NUMBER, '{"text": "a", "score": 2}').rows == [
        LabelledText("a", None, (), 2.0)
    ]


def test_class_numbers_become_the_names_in_the_file(tmp_path: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    path = tmp_path / "a.parquet"
    datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features).to_parquet(str(path))
    table = read_split(str(path), split="train", data=DataConfig(), kind=ONE_LABEL)
    assert [row.labels for row in table.rows] == [("yes",), ("no",)]


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        (ONE_LABEL, {"text": 5, "label": "x"}, r"line 1: found '5' \(int\) where a text belongs.*data\.columns\.text"),
        (ONE_LABEL, {"text": "\ud800", "label": "x"}, r"line 1: the text holds half of a surrogate pair"),
        (ONE_LABEL, {"text": "a", "label": None}, r"line 1: found 'None' \(nothing\) where a label belongs"),
        (ONE_LABEL, {"text": "a", "label": 1.5}, r"line 1: found '1.5' \(float\) where a label belongs"),
        (ONE_LABEL, {"text": "a", "label": ["x"]}, r"line 1: found .* \(list\) where a label belongs"),
        (ONE_LABEL, {"text": "a", "topic": "x"}, r"no column 'label', 'labels', 'intent' or 'category' for the labels"),
        (SEVERAL_LABELS, {"text": "a", "labels": "x"}, r"line 1: the labels are 'x' \(str\), where a list belongs"),
        (SEVERAL_LABELS, {"text": "a", "labels": ["x", "x"]}, r"line 1: a label occurs twice"),
        (ONE_NUMBER, {"text": "a", "score": "much"}, r"line 1: found 'much' \(str\) where a finite number belongs"),
        (ONE_NUMBER, {"text": "a", "score": True}, r"line 1: found 'True' \(bool\) where a finite number belongs"),
        (ONE_NUMBER, {"text": "a", "score": float("nan")}, r"line 1: found 'nan' \(float\) where a finite number"),
    ],
)
def test_a_faulty_row_is_an_error_that_names_it(
    tmp_path: Path, kind: ExampleKind, row: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path / "a.jsonl", kind, json.dumps(row))


def test_no_rows_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"The train file .* holds no rows: at least one text"):
        read(tmp_path / "a.jsonl", ONE_LABEL, "")


def test_a_column_for_what_the_examples_do_not_have_is_an_error() -> None:
    columns = ONE_LABEL.columns(DataConfig(columns={"tokens": "words"}))
    with pytest.raises(UserError, match=r"a column for 'tokens', which .* they have: text, pair, label\."):
        columns.check()


def test_words_with_tags_are_no_texts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no column 'text'.*the columns are: 'tokens', 'tags'"):
        read(tmp_path / "a.conll", ONE_LABEL, "Ada\tB-PER\n")


def test_what_a_row_becomes_does_not_depend_on_whether_other_rows_have_a_second_text(tmp_path: Path) -> None:
    task = make_task("sequence-classification")
    tokenizer = task.load_processor(str(write_model(tmp_path / "model", layers=1)))
    rows = [LabelledText("Ann", None, ("a",)), LabelledText("Bob", "left", ("a",)), LabelledText("it", "", ("a",))]
    whole = task.encode(rows, tokenizer, ["a"], 64)
    alone = [task.encode([row], tokenizer, ["a"], 64)[0] for row in rows]
    for one, other in zip(whole, alone, strict=True):
        assert {n: c.tolist() for n, c in one.columns.items()} == {n: c.tolist() for n, c in other.columns.items()}
    # [CLS] Ann [SEP] of 3 letters, and with a second text, be it empty, a [SEP] more.
    assert [len(one.columns["input_ids"]) for one in whole] == [5, 10, 5]
