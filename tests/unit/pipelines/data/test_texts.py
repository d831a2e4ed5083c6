from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.config import DataConfig
from pipelines.data.examples import Chat, Document, Message
from pipelines.data.read import read_split
from pipelines.data.texts import TEXTS, TEXTS_AND_CHATS
from pipelines.errors import UserError

HI, HELLO = Message("user", "Hi"), Message("assistant", "Hello")


def read(path: Path, content: str, **columns: str | int) -> list[Document | Chat]:
    path.write_text(content, encoding="utf-8")
    data = DataConfig(columns=columns)
    return read_split(str(path), split="train", data=data, kind=TEXTS_AND_CHATS).rows


def test_a_line_of_plain_text_is_a_text(tmp_path: Path) -> None:
    assert read(tmp_path / "a.txt", "one\n\ntwo\n") == [Document("one"), Document("two")]
    assert read_split(str(tmp_path / "a.txt"), split="train", data=DataConfig(), kind=TEXTS).rows == [
        Document("one"), Document("two"),
    ]  # fmt: skip


def test_a_row_is_a_chat_a_prompt_with_its_answer_or_a_text(tmp_path: Path) -> None:
    lines = [
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]},
        {"prompt": "Hi", "answer": "Hello"},
        {"prompt": "Hi", "input": "there", "answer": "Hello"},
        {"text": "Hi"},
    ]
    keys = {key for line in lines for key in line}
    content = "\n".join(json.dumps(dict.fromkeys(keys) | line) for line in lines)
    assert read(tmp_path / "a.jsonl", content) == [
        Chat((HI, HELLO)), Chat((HI, HELLO)), Chat((Message("user", "Hi\n\nthere"), HELLO)), Document("Hi"),
    ]  # fmt: skip


@pytest.mark.parametrize("names", [("query", "response"), ("instruction", "output"), ("question", "completion")])
def test_the_usual_names_of_columns_are_known_and_others_can_be_given(tmp_path: Path, names: tuple[str, str]) -> None:
    assert read(tmp_path / "a.csv", f"{names[0]},{names[1]}\nHi,Hello\n") == [Chat((HI, HELLO))]
    assert read(tmp_path / "a.tsv", "Hi\tHello\n", prompt=1, answer=2) == [Chat((HI, HELLO))]


def test_messages_in_a_csv_file_are_json(tmp_path: Path) -> None:
    cell = '"[{""role"": ""user"", ""content"": ""Hi""}, {""role"": ""assistant"", ""content"": ""Hello""}]"'
    assert read(tmp_path / "a.csv", f"messages\n{cell}\n") == [Chat((HI, HELLO))]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"label": 5}, "line 1: a text, messages, or a prompt with its answer are needed, found nothing"),
        ({"prompt": "Hi"}, "found prompt. Correct the row"),
        ({"messages": "Hi"}, r"the messages are 'Hi' \(str\), where a list"),
        ({"messages": []}, "where a list of at least one belongs"),
        ({"messages": ["Hi"]}, "message 1: found 'Hi'"),
        ({"messages": [{"role": "user", "content": "Hi"}]}, "none of the messages is the assistant's"),
        ({"messages": [{"role": "assistant", "content": None}]}, r"message 1: its content is 'None' \(nothing\)"),
        ({"messages": [{"role": "", "content": "Hi"}]}, "its role is ''"),
        ({"messages": [{"role": "assistant", "content": "", "tool_calls": [1]}]}, "it holds 'tool_calls'"),
        ({"messages": [{"role": "assistant", "content": "\ud800"}]}, "its content holds half of a surrogate pair"),
    ],
)
def test_a_row_that_is_neither_is_refused_by_its_place(tmp_path: Path, row: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path / "a.jsonl", json.dumps(row))
