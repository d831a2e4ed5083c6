"""What a run may change that goes on from another's checkpoint, and where it stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.config import Config, from_overrides
from pipelines.errors import UserError
from pipelines.train.checkpoint import Checkpoint, open_checkpoint
from pipelines.train.checkpoint_write import save_checkpoint
from pipelines.train.resume import check_changes, check_same, check_unfinished, lasting


def start(folder: Path, *overrides: str) -> Checkpoint:
    save_checkpoint(folder, step=10, facts=lasting(from_overrides(list(overrides))), parts=[])
    return open_checkpoint(folder / "checkpoints" / "step-00000010")


def facts(*overrides: str) -> dict[str, object]:
    return lasting(from_overrides(list(overrides)))


def test_what_is_named_may_be_another(tmp_path: Path) -> None:
    before = start(tmp_path, "train.learning_rate=1e-3")
    check_same(before, facts("train.learning_rate=1e-4"), ["train.learning_rate"])
    with pytest.raises(UserError, match="comes from another run: its train is"):
        check_same(before, facts("train.learning_rate=1e-4"), ["train.weight_decay"])
    with pytest.raises(UserError, match="comes from another run: its train is"):
        check_same(before, facts("train.learning_rate=1e-4", "train.batch_size=4"), ["train.learning_rate"])


def test_nothing_can_be_named_that_makes_another_run() -> None:
    with pytest.raises(UserError, match=r"checkpoint\.changes\.0"):
        from_overrides(["checkpoint.changes=[train.batch_size]"])


def test_changes_need_a_run_that_they_are_changes_to() -> None:
    changes = ["checkpoint.changes=[train.learning_rate]"]
    check_changes(from_overrides([*changes, "checkpoint.resume=runs/x"]))
    check_changes(Config())
    for resume in ("auto", "never"):
        with pytest.raises(UserError, match=rf"checkpoint\.resume={resume} names none"):
            check_changes(from_overrides([*changes, f"checkpoint.resume={resume}"]))


def test_a_run_stops_where_it_is_told_or_says_that_it_is_there_already(tmp_path: Path) -> None:
    before = start(tmp_path)
    check_unfinished(before, 40, None, stop_step=20)
    with pytest.raises(UserError, match=r"has done 10 steps, and checkpoint\.stop_after stops the run after 10"):
        check_unfinished(before, 40, None, stop_step=10)


def test_only_the_own_strategy_stops_early() -> None:
    with pytest.raises(UserError, match=r"checkpoint\.stop_after needs the strategy `pipeline`"):
        check_changes(from_overrides(["checkpoint.stop_after=1", "plan.strategy=data"]))
