"""What is forgotten, by literals, and how it is shown."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.continual.forgetting import Learnt, forgotten
from pipelines.continual.show import draw, table_of

AFTER = ((0.9,), (0.6, 0.8), (0.5, 0.7, 1.0))
LEARNT = Learnt("none", "accuracy", ("first", "second", "third"), AFTER)


def test_forgotten_is_the_best_earlier_score_less_the_last_one() -> None:
    assert forgotten(AFTER) == pytest.approx([0.9 - 0.5, 0.8 - 0.7])
    assert forgotten([[0.5], [0.9, 0.8], [0.6, 0.8, 0.7]]) == pytest.approx([0.9 - 0.6, 0.0])


def test_a_set_that_later_ones_made_better_is_forgotten_by_less_than_nothing() -> None:
    assert forgotten([[0.5], [0.75, 1.0]]) == [-0.25]


def test_one_set_leaves_nothing_to_forget() -> None:
    first = Learnt("none", "accuracy", ("first", "second"), ((0.9,),))
    assert (first.forgotten, first.forgetting, first.mean_score) == ([], 0.0, 0.9)


def test_metrics_are_of_the_newest_model() -> None:
    assert LEARNT.metrics() == pytest.approx(
        {
            "set_1_score": 0.5, "set_2_score": 0.7, "set_3_score": 1.0, "set_1_forgotten": 0.4, "set_2_forgotten": 0.1,
            "forgetting": 0.25, "mean_score": 2.2 / 3,
        }
    )  # fmt: skip


def test_the_table_has_a_line_for_every_run_and_one_for_what_was_forgotten() -> None:
    said = StringIO()
    Console(file=said, width=100).print(table_of(LEARNT))
    lines = [line.replace("│", " ").split() for line in said.getvalue().splitlines()]
    for line in (
        ["first", "0.9000"],
        ["second", "0.6000", "0.8000"],
        ["third", "0.5000", "0.7000", "1.0000"],
        ["forgotten", "0.4000", "0.1000"],
    ):
        assert line in lines
    assert "forgetting 0.2500, mean score 0.7333" in said.getvalue()


def test_the_picture_is_drawn_with_more_sets_than_colours(tmp_path: Path) -> None:
    many = tuple(tuple(0.5 for _ in range(k + 1)) for k in range(7))
    draw(tmp_path / "new" / "forgetting.png", [LEARNT, Learnt("replay", "F1", tuple(map(str, range(7))), many)])
    assert (tmp_path / "new" / "forgetting.png").read_bytes().startswith(b"\x89PNG")
