"""A sequence that was stopped goes on in its folder, and no other does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.config import Config, from_overrides
from pipelines.continual.folder import RESULT, keep, so_far
from pipelines.continual.forgetting import Learnt
from pipelines.errors import UserError


def config(*overrides: str) -> Config:
    return from_overrides(["continual.sets=[first, second]", *overrides])


def test_it_begins_in_a_free_folder_and_goes_on_behind_the_sets_that_were_scored(tmp_path: Path) -> None:
    folder = tmp_path / "turns"
    begun = so_far(config(), folder)
    assert begun == Learnt("none", "", ("first", "second"), ())
    assert so_far(config(), folder) == begun
    scored = replace(begun, score_name="accuracy", after=((0.75,),))
    keep(scored, folder)
    assert so_far(config(), folder) == scored


def test_what_else_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"exists and is not empty\. Give another one with --output"):
        so_far(config(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("other", ["continual.method=replay", "train.learning_rate=1", "run.seed=1", "model=x"])
def test_a_sequence_of_another_config_is_another(tmp_path: Path, other: str) -> None:
    so_far(config(), tmp_path / "turns")
    with pytest.raises(UserError, match="it holds something of another config"):
        so_far(config(other), tmp_path / "turns")


def test_one_that_came_to_its_end_or_is_to_begin_afresh_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "turns"
    keep(replace(so_far(config(), folder), score_name="F1", after=((0.5,), (0.25, 1.0))), folder)
    with pytest.raises(UserError, match="a sequence that came to its end"):
        so_far(config(), folder)
    (folder / RESULT).unlink()
    with pytest.raises(UserError, match="exists and is not empty"):
        so_far(config("checkpoint.resume=never"), folder)
