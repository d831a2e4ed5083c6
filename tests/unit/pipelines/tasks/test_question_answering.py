"""Texts that are longer than a model takes are learnt in windows, and answered row by row."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.config import DataConfig
from pipelines.data.examples import Array, Encoded, Question
from pipelines.data.order import Order
from pipelines.data.shard import DataShard
from pipelines.evaluate.evaluation import Answered, evaluate
from pipelines.tasks.question_answering import QuestionAnswering, Truth, said
from tests.tiny import write_model

TASK = QuestionAnswering()
FAR = "it rains in Rome . " * 12 + "Ann left Oslo . " + "it rains in Lima . " * 4
AT = FAR.index("Oslo")
NONE = np.zeros((0, 2), np.int64)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_model(tmp_path_factory.mktemp("model") / "model", layers=1))


@pytest.fixture(scope="module")
def processor(source: str) -> Any:
    return TASK.load_processor(source)


def encoded(row: Question, processor: Any, max_length: int = 32) -> list[Encoded]:
    return TASK.encode([row], processor, (), max_length)


def letters(example: Encoded) -> set[int]:
    """Which characters of the text a window holds."""
    assert example.places is not None
    return {at for begin, end in example.places.tolist() for at in range(begin, end)}


def test_windows_hold_all_of_a_text_and_share_a_quarter_of_what_there_is_room_for(processor: Any) -> None:
    windows = encoded(Question("who left", FAR, ()), processor)
    assert len(windows) > 3
    assert [one.continues for one in windows] == [False] + [True] * (len(windows) - 1)
    assert set.union(*map(letters, windows)) == {at for at, letter in enumerate(FAR) if letter != " "}
    # Of 32 sub-words the question and its marks take 9, and the mark behind the text another one.
    assert [one.length for one in windows[:-1]] == [32] * (len(windows) - 1)
    assert {len(letters(a) & letters(b)) for a, b in pairwise(windows)} == {(32 - 9 - 1) // 4}
    assert sum(one.num_cut for one in windows) == 0


def test_windows_with_the_whole_answer_point_at_it_and_the_others_at_their_first_sub_word(processor: Any) -> None:
    right = 0
    for window in encoded(Question("where", FAR, (("Oslo", AT),)), processor):
        gold = TASK.gold(Question("where", FAR, (("Oslo", AT),)), window)
        held = letters(window) >= set(range(AT, AT + 4))
        assert said(gold, window.columns["labels"]) == ("Oslo" if held else "")
        assert window.columns["labels"].any() == held
        right += held
    assert right >= 1


def test_what_fits_is_one_example_as_ever(processor: Any) -> None:
    (one,) = encoded(Question("where", "Ann left Oslo", (("Oslo", 9),)), processor)
    assert (one.continues, one.num_cut, one.columns["labels"].tolist()) == (False, 0, [14, 17])


def test_a_question_that_leaves_no_room_gives_way_and_what_is_cut_is_counted(processor: Any) -> None:
    (one,) = encoded(Question("w" * 40, "Ann left", ()), processor)
    assert (one.length, one.num_cut) == (32, 40 + 7 + 3 - 32)


def window(strength: float, none: float, *, at: int = 1) -> Array:
    """What a window says of the answer at a sub-word, and of there being none."""
    return np.array([at, at, 0.6, strength, 0.3, none])


def truths(*continues: bool) -> list[Truth]:
    return [Truth("", NONE, (), one) for one in continues]


def test_the_strongest_window_answers_its_row() -> None:
    gold = truths(False, True, True, False)
    kept, answers = TASK.settled(gold, [window(2, 1), window(5, 1, at=7), window(4, 0), window(3, 1, at=2)])
    assert kept == [1, 3]
    assert [answer.tolist() for answer in answers] == [[7, 7, 0.6], [2, 2, 0.6]]


def test_there_is_no_answer_only_if_every_window_finds_that_likelier_than_the_best_of_all() -> None:
    # The second window by itself would say that there is none.
    kept, answers = TASK.settled(truths(False, True), [window(1, 0.5), window(3, 4, at=9)])
    assert (kept, answers[0].tolist()) == ([1], [9, 9, 0.6])
    kept, answers = TASK.settled(truths(False, True), [window(1, 3.5), window(3, 4)])
    assert (kept, answers[0].tolist()) == ([0], [0, 0, 0.3])


def test_scores_are_by_row_and_not_by_window(processor: Any) -> None:
    rows = [Question("where", FAR, (("Oslo", AT),)), Question("who", "Ann left", (("Ann", 0),))]
    examples = TASK.encode(rows, processor, (), 32)
    count = len(examples) - 1
    gold = [TASK.gold(rows[0], one) for one in examples[:-1]] + [TASK.gold(rows[1], examples[-1])]
    # Every window says what it was taught, the one with the answer the surest; the last row is answered wrongly.
    answers = [
        np.array([*one.columns["labels"], 0.9, 5.0 if one.columns["labels"].any() else -5.0, 0.05, 0.0])
        for one in examples[:-1]
    ]
    answers.append(window(1, 2))
    found = evaluate(
        TASK, (), Answered([count, 1], [FAR] * count + ["Ann left"], [one.length for one in examples], gold, answers),
        model="m", data="d", split="test", task_name="question-answering",
    )  # fmt: skip
    report = found.report.to_json()
    assert (report["questions"], report["answerable"], report["exact"]) == (2, 2, 0.5)
    assert (found.overall.rows, found.overall.score) == (2, 0.5)
    assert [(one.row, one.true, one.said) for one in found.worst] == [(2, "Ann", "no answer")]


@pytest.mark.parametrize("num_shards", [1, 2, 3])
def test_any_number_of_data_shards_makes_the_same_windows_in_the_same_order(
    source: str, tmp_path: Path, num_shards: int
) -> None:
    rows = [("where", FAR, "Oslo", AT), ("who", "Ann left", "Ann", 0), ("where", FAR[40:], "Oslo", AT - 40)]
    names = ("question", "context", "answer", "start")
    lines = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
    (tmp_path / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    shards = [
        DataShard(DataConfig(path=str(tmp_path)), TASK, shard=s, num_shards=num_shards) for s in range(num_shards)
    ]
    pieces, parts = [], []
    for shard in shards:
        assert shard.load()["train"].num_rows == 3
        own = shard.encode(source, (), 32)["train"]
        pieces.append(own.pieces.tolist())
        parts.append(list(zip(own.lengths.tolist(), shard.gold("train", 0, 100), strict=True)))
    questions = [Question(question, context, ((text, start),)) for question, context, text, start in rows]
    plain = [(row, one) for row in questions for one in encoded(row, TASK.load_processor(source))]
    assert [(n, str(gold)) for n, gold in Order(pieces).join(parts)] == [
        (one.length, str(TASK.gold(row, one))) for row, one in plain
    ]
