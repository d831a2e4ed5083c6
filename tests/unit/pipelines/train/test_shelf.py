from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.checkpoint_settings import CheckpointConfig
from pipelines.train.checkpoint import open_checkpoint, saved
from pipelines.train.shelf import Shelf


def shelf_of(run: Path, **config: Any) -> Shelf:
    return Shelf(run, CheckpointConfig(**config), print)


def save(shelf: Shelf, step: int, score: float | None = None) -> Path:
    return shelf.save(step=step, facts={}, parts=[], score=score)


def steps(run: Path) -> dict[int, float | None]:
    return {open_checkpoint(path).step: open_checkpoint(path).index.score for path in saved(run)}


def test_the_newest_two_stay_and_the_best_on_dev(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path)
    for step, score in ((1, 0.2), (2, 0.8), (3, None), (4, 0.5), (5, None)):
        save(shelf, step, score)
    assert steps(tmp_path) == {2: 0.8, 4: 0.5, 5: None}


def test_the_best_stays_when_the_run_goes_on_in_another_process(tmp_path: Path) -> None:
    save(shelf_of(tmp_path, keep=1), 1, 0.9)
    for step in (2, 3):
        save(shelf_of(tmp_path, keep=1), step, 0.1)
    assert steps(tmp_path) == {1: 0.9, 3: 0.1}
    save(shelf_of(tmp_path, keep=1, keep_best=0), 4)
    assert steps(tmp_path) == {4: None}


def test_a_score_that_comes_after_its_checkpoint_counts(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path, keep=1)
    shelf.sort_out(save(shelf, 1), 0.9)
    for step in (2, 3):
        save(shelf, step)
    assert steps(tmp_path) == {1: 0.9, 3: None}


def test_what_is_saved_already_is_not_saved_again(tmp_path: Path) -> None:
    def parts() -> Iterator[Any]:
        yield pytest.fail("the stages are asked for their state")

    place = save(shelf := shelf_of(tmp_path), 1, 0.9)
    assert shelf.save(step=1, facts={}, parts=parts(), score=None) == place
    # Nor what a run goes on from, if it is stopped before its first step.
    resumed = Shelf(tmp_path, CheckpointConfig(), print, open_checkpoint(place))
    assert resumed.save(step=1, facts={}, parts=parts(), score=None) == place
    assert steps(tmp_path) == {1: 0.9}
    elsewhere = Shelf(tmp_path / "other", CheckpointConfig(), print, open_checkpoint(place))
    assert save(elsewhere, 1).is_relative_to(tmp_path / "other")
