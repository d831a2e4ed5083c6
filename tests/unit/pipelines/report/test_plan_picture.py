"""A plan of several replicas, as it is shown."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from pipelines.config import Config
from pipelines.report.observer import Beginning
from pipelines.report.plan_picture import plan_figure, save_plan_picture, show_plan
from pipelines.report.plan_table import plan_table
from tests.unit.pipelines.plan.test_choose import choose, kind
from tests.unit.pipelines.plan.test_replicate import replicate


def test_stages_are_shown_behind_their_replicas_with_shares_and_the_reason(tmp_path: Path) -> None:
    choice = replicate([kind("fast", 1), kind("slow", 3)], [1, 1])
    shown = io.StringIO()
    show_plan(choice.plan, Console(file=shown, width=200))
    lines = [line.rstrip() for line in shown.getvalue().splitlines()]
    assert lines[1].split() == ["replica.stage", "device", "node", "units", "busy", "memory"]
    assert [line.split()[:2] for line in lines[2:4]] == [["0.0", "fast"], ["1.0", "slow"]]
    assert lines[5] == "shares of a step: 6 : 2, by replica"
    assert lines[6].startswith("2 replicas are predicted to take ")
    labels = [text.get_text() for text in plan_figure(choice).axes[1].get_yticklabels()]
    assert labels == ["0.0", "1.0"]
    save_plan_picture(tmp_path / "plan.png", choice)
    assert (tmp_path / "plan.png").stat().st_size > 1000


def test_one_replica_has_stages_alone() -> None:
    shown = io.StringIO()
    show_plan(choose([kind("fast", 1)], [2]).plan, Console(file=shown, width=200))
    lines = shown.getvalue().splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["stage", "0", "1"]
    assert "shares" not in shown.getvalue()


def test_the_table_of_a_run_tells_shares_and_the_reason() -> None:
    plan = {"stages": [], "shares": [6.0, 2.0], "why": "Two are better.", "left_out": ["1 left out."], "instead": None}
    assert plan_table(Beginning(1, 0, 1, plan, {}, ["O"], Config())).split("\n") == [
        "shares of a step: 6 : 2, by replica",
        "Two are better.",
        "1 left out.",
    ]
