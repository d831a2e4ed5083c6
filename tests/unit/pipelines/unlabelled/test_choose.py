"""Which texts are taken, by how sure the model is."""

from __future__ import annotations

import json

from pipelines.unlabelled.choose import doubtful_ones, lines, sure_ones
from pipelines.unlabelled.guess import Guess

TEXTS = ["a", "b", "a ", "", "c", "d"]
SURE = [0.9, 0.5, 0.9, 0.0, 0.99, 0.7]
GUESSES = [
    Guess({"text": text, "label": "x" if sure > 0.6 else "y"}, sure, 1 - sure, ("x" if sure > 0.6 else "y",))
    for text, sure in zip(TEXTS, SURE, strict=True)
]


def test_the_sure_ones_keep_their_order_and_none_comes_twice() -> None:
    chosen = sure_ones(TEXTS, GUESSES, at_least=0.9)
    assert [row["text"] for row in chosen.rows] == ["a", "c"]
    assert chosen.to_json() == {"texts": 6, "chosen": 2, "repeated": 2, "labels": {"x": 2}}


def test_the_most_doubtful_come_first() -> None:
    chosen = doubtful_ones(TEXTS, GUESSES, most=2)
    assert [row["text"] for row in chosen.rows] == ["b", "d"]
    assert chosen.rows[0] == {"text": "b", "guess": {"text": "b", "label": "y"}, "doubt": 0.5}
    assert chosen.labels == {"x": 1, "y": 1}


def test_there_may_be_fewer_than_were_asked_for() -> None:
    assert len(doubtful_ones(TEXTS, GUESSES, most=99).rows) == 4


def test_lines_are_json_with_letters_as_they_are() -> None:
    assert lines([{"text": "早\n"}]) == '{"text": "早\\n"}\n'
    assert json.loads(lines([{"a": 1}])) == {"a": 1}
