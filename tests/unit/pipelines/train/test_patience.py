"""When a run ends because it gets no better, by the scores of the checkpoints it keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipelines.config import Config, from_overrides
from pipelines.errors import UserError
from pipelines.train.checkpoint import saved, step_of
from pipelines.train.checkpoint_write import save_checkpoint
from pipelines.train.patience import best_step, check_patience, forget_after, is_tired


def write(run: Path, scores: dict[int, float | None]) -> None:
    for step, score in scores.items():
        save_checkpoint(run, step=step, facts={}, parts=[({"w": torch.zeros(1)}, {})], score=score)


def test_the_best_is_the_highest_and_of_equal_ones_the_first(tmp_path: Path) -> None:
    assert best_step(tmp_path) is None
    write(tmp_path, {10: 0.5, 20: 0.7, 25: None, 30: 0.7, 40: 0.6})
    assert best_step(tmp_path) == 20


@pytest.mark.parametrize(("done", "patience", "tired"), [(30, 1, True), (30, 2, False), (40, 2, True), (20, 1, False)])
def test_it_is_tired_when_so_many_epochs_brought_nothing(tmp_path: Path, done: int, patience: int, tired: bool) -> None:
    write(tmp_path, {10: 0.5, 20: 0.7, 30: 0.6})
    assert is_tired(tmp_path, done=done, steps_per_epoch=10, patience=patience) == tired


def test_without_a_score_it_is_never_tired(tmp_path: Path) -> None:
    write(tmp_path, {10: None})
    assert not is_tired(tmp_path, done=90, steps_per_epoch=10, patience=1)


def test_what_comes_behind_the_best_is_forgotten(tmp_path: Path) -> None:
    write(tmp_path, {10: 0.5, 20: 0.7, 30: 0.6})
    forget_after(tmp_path, 20)
    assert [step_of(path) for path in saved(tmp_path)] == [10, 20]


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["plan.strategy=data"], r"remove one of it and plan\.strategy=data"),
        (["checkpoint.keep_best=0"], r"checkpoint\.keep_best must be 1 or more"),
    ],
)
def test_what_contradicts_it_is_refused(overrides: list[str], why: str) -> None:
    with pytest.raises(UserError, match=why):
        check_patience(from_overrides(["train.patience=2", *overrides]))
    check_patience(Config())
