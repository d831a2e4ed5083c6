from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest

from pipelines.config import DataConfig
from pipelines.data.examples import Translated
from pipelines.data.read import read_split
from pipelines.data.translated import TRANSLATED
from pipelines.errors import UserError

HELLO = [Translated("Hello", "你好"), Translated("", "x")]
BY_LANGUAGE: dict[str, str | int] = {"source": "translation.en", "target": "translation.zh"}


def read(path: Path, **columns: str | int) -> list[Translated]:
    return read_split(str(path), split="train", data=DataConfig(columns=columns), kind=TRANSLATED).rows


@pytest.mark.parametrize("names", ["source,target", "src,tgt", "document,summary", "article,highlights"])
def test_the_usual_names_of_columns_are_known(tmp_path: Path, names: str) -> None:
    (tmp_path / "a.csv").write_text(f"{names}\nHello,你好\n,x\n", encoding="utf-8")
    assert read(tmp_path / "a.csv") == HELLO


def test_a_tsv_file_without_a_header_has_its_columns_by_number(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("你好\tHello\nx\t\n", encoding="utf-8")
    assert read(tmp_path / "a.tsv", source=2, target=1) == HELLO


def test_one_column_may_hold_both_by_language(tmp_path: Path) -> None:
    rows = [{"translation": {"en": row.source, "zh": row.target}} for row in HELLO]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert read(tmp_path / "a.jsonl", **BY_LANGUAGE) == HELLO
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))
    assert read(tmp_path / "saved", **BY_LANGUAGE) == HELLO
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", **BY_LANGUAGE) == HELLO


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"translation": {"en": "a"}}, "line 1: there is no 'zh' for the text to be written, found 'en'. Correct"),
        ({"translation": "a"}, "there is no 'en' for the text, found str"),
        ({"translation": {"en": 5, "zh": "b"}}, r"found '5' \(int\) where a text belongs"),
        ({"source": "a", "target": "b"}, "there is no column 'translation' for the texts"),
    ],
)
def test_a_row_without_one_of_the_languages_is_refused(tmp_path: Path, row: dict[str, object], message: str) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read(tmp_path / "a.jsonl", **BY_LANGUAGE)


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("source,target\n", encoding="utf-8")
    with pytest.raises(UserError, match="holds no rows"):
        read(tmp_path / "a.csv")
