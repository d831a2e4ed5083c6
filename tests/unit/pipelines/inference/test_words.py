"""Where words begin and end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.inference.words import Punctuation, Word, read_punctuation, split_words

pytestmark = pytest.mark.timeout(30)

TEXTS = [
    "",
    " \t\n\u3000",
    "Hello, world!",
    "\u0301x e\u0301.",
    "hi\U0001f468\u200d\U0001f469\u200d\U0001f467!!\U0001f44d\U0001f3fd ok",
    "我住在北京\uff0cOK? カタカナ",
    "\ud800 \x00 a\u200b",
]


def words(text: str, punctuation: Punctuation = "separate") -> list[str]:
    return [word.text for word in split_words(text, punctuation=punctuation)]


@pytest.mark.parametrize("punctuation", ["separate", "attached"])
@pytest.mark.parametrize("text", TEXTS)
def test_every_character_but_white_space_is_in_one_word(text: str, punctuation: Punctuation) -> None:
    found = split_words(text, punctuation=punctuation)
    assert all(word.text == text[word.start : word.end] for word in found)
    assert "".join(word.text for word in found) == "".join(text.split())


def test_offsets_count_code_points() -> None:
    assert split_words("😀 é, x") == [Word("😀", 0, 1), Word("é", 2, 3), Word(",", 3, 4), Word("x", 5, 6)]


def test_attached_punctuation_stays_with_its_word() -> None:
    assert words("123 Main St., Apt. #4", "attached") == ["123", "Main", "St.,", "Apt.", "#4"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, world!", ["Hello", ",", "world", "!"]),
        ('("EU")', ["(", '"', "EU", '"', ")"]),
        ("the U.S., J. Smith.", ["the", "U.S.", ",", "J.", "Smith", "."]),
        ("Mr. Gray of Acme Inc. left.", ["Mr.", "Gray", "of", "Acme", "Inc.", "left", "."]),
        ("EU's don't", ["EU", "'s", "do", "n't"]),
        ("3.5% of $10,000", ["3.5", "%", "of", "$", "10,000"]),
        ("wait... what?!", ["wait", "...", "what", "?", "!"]),
        ("German-born", ["German-born"]),
        ("ok\U0001f44d\U0001f3fd", ["ok", "\U0001f44d\U0001f3fd"]),
    ],
)
def test_separate_punctuation_follows_conll(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize("punctuation", ["separate", "attached"])
def test_a_script_without_spaces_has_a_word_for_each_character(punctuation: Punctuation) -> None:
    assert words("我住在北京 カタ", punctuation) == ["我", "住", "在", "北", "京", "カ", "タ"]
    assert words("서울에 산다", punctuation) == ["서울에", "산다"]


@pytest.mark.parametrize("text", ["!?" * 20_000, "a!" * 20_000, "J.," * 20_000, "e" + "\u0301" * 40_000])
def test_time_grows_with_the_length_and_not_its_square(text: str) -> None:
    start = time.perf_counter()
    split_words(text)
    # Takes 0.02 s; a loop over loops takes a minute.
    assert time.perf_counter() - start < 3


def test_the_model_folder_says_how_it_wants_its_words(tmp_path: Path) -> None:
    assert read_punctuation(tmp_path) == "separate"
    (tmp_path / "task.json").write_text('{"punctuation": "attached"}')
    assert read_punctuation(tmp_path) == "attached"


@pytest.mark.parametrize("content", ["{", "[]", "[" * 100_000])
def test_a_file_that_is_no_object_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "task.json").write_text(content)
    with pytest.raises(UserError, match=r"task\.json is not a JSON object"):
        read_punctuation(tmp_path)


@pytest.mark.parametrize("content", ['{"punctuation": "none"}', '{"punctuation": []}'])
def test_a_wrong_way_with_punctuation_is_an_error_with_the_choices(tmp_path: Path, content: str) -> None:
    (tmp_path / "task.json").write_text(content)
    with pytest.raises(UserError, match=r"attached.*separate"):
        read_punctuation(tmp_path)
