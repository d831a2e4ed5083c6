"""JSON lines, CSV and Parquet."""

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import DataConfig
from pipelines.data.examples import Table, TaggedSentence
from pipelines.data.read import read_split
from pipelines.data.tagged import TAGGED
from pipelines.errors import UserError

ADA = TaggedSentence(("Ada", "wrote"), ("B-PER", "O"))
BOB = TaggedSentence(("Bob",), ("B-PER",))


def read(path: Path, **settings: Any) -> Table[TaggedSentence]:
    return read_split(str(path), split="train", data=DataConfig.model_validate(settings), kind=TAGGED)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    return path


def with_names(path: Path, tags: list[list[int]]) -> Path:
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=["O", "B-PER", "I-PER"])),
        }
    )
    tokens = [["Ada", "wrote"], ["Bob"]]
    datasets.Dataset.from_dict({"tokens": tokens, "ner_tags": tags}, features=features).to_parquet(str(path))
    return path


@pytest.mark.parametrize("column", ["ner_tags", "tags", "labels"])
@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_json_lines_hold_lists(tmp_path: Path, column: str, ending: str) -> None:
    path = write(
        tmp_path / f"a.{ending}",
        json.dumps({"tokens": ["Ada", "wrote"], column: ["B-PER", "O"], "id": 7}),
        "",
        json.dumps({column: ["B-PER"], "tokens": ["Bob"]}) + "\r",
    )
    assert read(path) == Table([ADA, BOB], 0, frozenset({"B-PER", "O"}))


def test_json_text_may_hold_raw_line_separators(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '\ufeff{"tokens": ["a\u2028b"], "tags": ["O"]}')
    assert read(path).rows == [TaggedSentence(("a\u2028b",), ("O",))]


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"words": ["Bob"], "iob": ["B-PER"], "tags": ["NN"]}')
    assert read(path, columns={"tokens": "words", "tags": "iob"}).rows == [BOB]


def test_a_row_without_words_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"tokens": [], "tags": []}', '{"tokens": ["Bob"], "tags": ["B-PER"]}')
    assert read(path).rows == [TaggedSentence((), ()), BOB]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Ada wrote", r"line 2: this line is not a JSON object"),
        ('["Ada"]', r"line 2: this line is not a JSON object"),
        ("[" * 100_000, r"line 2: this line is not a JSON object"),
        (
            '{"tokens": ["a"], "pos": ["O"]}',
            r"no column 'ner_tags', 'tags' or 'labels'.*'tokens', 'pos'.*data.columns.tags",
        ),
        ('{"text": ["a"], "tags": ["O"]}', r"line 2: there is no column 'tokens'.*'text', 'tags'.*data.columns.tokens"),
        ('{"tokens": "Ada wrote", "tags": ["O", "O"]}', r"line 2: the words are 'Ada wrote' \(str\), where a list"),
        ('{"tokens": ["a"], "tags": null}', r"line 2: the tags are 'None' \(nothing\), where a list"),
        ('{"tokens": ["a", "b"], "tags": ["O"]}', r"line 2: found 2 words but 1 tags\. Every word needs one tag"),
        ('{"tokens": ["a", "b"], "tags": ["O", null]}', r"line 2, word 2: the word 'b' has no tag"),
        ('{"tokens": ["a", 7], "tags": ["O", "O"]}', r"line 2, word 2: found '7' \(int\) where a word belongs"),
        (
            '{"tokens": ["a"], "tags": [1]}',
            r"line 2, word 1: the tag is the number 1, and nothing here says.*ClassLabel",
        ),
        ('{"tokens": ["a"], "tags": [true]}', r"line 2, word 1: the tag 'True' is not an IOB2 tag"),
        ('{"tokens": ["a"], "tags": [["O"]]}', r"line 2, word 1: the tag .* is not an IOB2 tag"),
        ('{"tokens": ["a"], "tags": ["I-PER"]}', r"line 2, word 1: the tag 'I-PER' opens an entity.*data\.iob=repair"),
        ('{"tokens": ["\\ud800"], "tags": ["O"]}', r"line 2: a word holds half of a surrogate pair"),
    ],
)
def test_a_faulty_json_line_is_an_error_that_names_it(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path / "a.jsonl", '{"tokens": ["Bob"], "tags": ["B-PER"]}', line)
    with pytest.raises(UserError, match=message):
        read(path)


def test_csv_cells_are_json_lists_or_separated_by_spaces(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        "\ufeffid,tokens,ner_tags",
        '1,"[""Ada"", ""wrote""]","[""B-PER"", ""O""]"',
        "",
        "2,Bob,B-PER",
        "3,[ 1 ],O O O",
    )
    assert read(path).rows == [ADA, BOB, TaggedSentence(("[", "1", "]"), ("O", "O", "O"))]


def test_csv_cells_keep_unicode_spaces_and_count_their_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "note,tokens,tags\r", '"two\r', 'lines",a\u00a0b\u2028c,O\r', "x,y,PER\r")
    with pytest.raises(UserError, match=r"a\.csv, line 4, word 1: the tag 'PER'"):
        read(path)
    path = write(tmp_path / "a.csv", "note,tokens,tags\r", '"two\r', 'lines",a\u00a0b\u2028c,O\r')
    assert read(path).rows == [TaggedSentence(("a\u00a0b\u2028c",), ("O",))]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Ada wrote,B-PER", r"line 2: found 2 words but 1 tags"),
        ("Ada,wrote,B-PER O", r"line 2: this record has 3 cells, but the first line has 2"),
        ("Ada", r"line 2: this record has 1 cells, but the first line has 2"),
        ("Ada,1", r"line 2, word 1: the tag is the number 1, and nothing"),
        ("['Ada'],['B-PER']", r"line 2: the tags open like a list, but .* not valid JSON"),
        ('"Ada,O', r"line 2: this record is not valid CSV"),
        ("Ada," + "9" * 5000, r"line 2, word 1: the tag '9{40}'... is not an IOB2 tag"),
    ],
)
def test_a_faulty_csv_record_is_an_error_that_names_it(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(write(tmp_path / "a.csv", "tokens,tags", line))


def test_a_csv_without_the_columns_says_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no column 'tokens' for the words; the columns are: 'tokens;tags'"):
        read(write(tmp_path / "a.csv", "tokens;tags", "Ada;O"))


def test_a_csv_with_only_a_header_is_empty(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no rows"):
        read(write(tmp_path / "a.csv", "tokens,tags"))


def test_parquet_holds_lists(tmp_path: Path) -> None:
    table = pa.table({"tokens": [["Ada", "wrote"], ["Bob"]], "tags": [["B-PER", "O"], ["B-PER"]]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").rows == [ADA, BOB]


def test_parquet_numbers_become_the_class_names_in_the_file(tmp_path: Path) -> None:
    assert read(with_names(tmp_path / "a.parquet", [[1, 0], [1]])).rows == [ADA, BOB]


def test_parquet_numbers_without_names_are_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"tokens": [["Bob"]], "tags": [[1]]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet, row 1, word 1: the tag is the number 1, and nothing here says"):
        read(tmp_path / "a.parquet")


def test_numbers_beyond_the_class_names_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    features = {"tags": {"feature": {"names": ["O", "B-PER"], "_type": "ClassLabel"}, "_type": "List"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"tokens": [["Bob"], ["Eve"]], "tags": [[1], [-1]]}).replace_schema_metadata(metadata)
    pq.write_table(table, path)
    with pytest.raises(
        UserError, match=r"row 2, word 1: the tag is the number -1, but the column names 2 classes \(0 to 1"
    ):
        read(path)


@pytest.mark.parametrize("names", ["5", "null", '{"O": 0}', "[" * 100_000])
def test_names_of_classes_that_are_no_list_are_none(tmp_path: Path, names: str) -> None:
    said = f'{{"info": {{"features": {{"tags": {{"_type": "ClassLabel", "names": {names}}}}}}}}}'
    table = pa.table({"tokens": [["Bob"]], "tags": [["B-PER"]]}).replace_schema_metadata({"huggingface": said})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").rows == [BOB]


@pytest.mark.parametrize(
    ("kind", "number"), [(pa.date32(), 2**31 - 1), (pa.timestamp("s"), 2**50), (pa.duration("ms"), 2**62)]
)
def test_a_date_beyond_all_calendars_is_an_error(tmp_path: Path, kind: pa.DataType, number: int) -> None:
    tags = pa.array([[number]], pa.list_(kind))
    pq.write_table(pa.table({"tokens": [["Bob"]], "tags": tags}), tmp_path / "a.parquet")
    with pytest.raises(
        UserError, match=r"a\.parquet cannot be read as Parquet \(after 0 rows\): .* Write the file anew"
    ):
        read(tmp_path / "a.parquet")


def test_a_broken_parquet_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.parquet cannot be read as Parquet \(after 0 rows\)"):
        read(write(tmp_path / "a.parquet", "tokens,tags"))


def test_a_parquet_file_without_the_columns_says_which_there_are(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "tags": [["O"]]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: there is no column 'tokens'.*'text', 'tags'"):
        read(tmp_path / "a.parquet")
