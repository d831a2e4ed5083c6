"""A run that gets no better ends, and keeps the weights that were best."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.train.checkpoint import saved, step_of
from tests.cluster.test_training import config, run
from tests.tiny import write_data, write_model

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("ray_session")]


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    return {"model": str(write_model(tmp_path / "model")), "data": str(write_data(tmp_path / "data"))}


def test_it_ends_when_no_epoch_is_better_with_the_first_of_equal_ones(given: dict[str, str], tmp_path: Path) -> None:
    # So slowly that every epoch scores alike.
    slow = {"epochs": 5, "max_steps": None, "patience": 2, "learning_rate": 1e-12}
    watcher = run(config(given, train=slow), tmp_path / "run")
    epoch = sum(numbers.epoch == 1 for numbers in watcher.steps)
    assert [numbers.step for numbers in watcher.steps] == list(range(1, 3 * epoch + 1))
    assert [step for _, step, _ in watcher.reports["dev"]] == [epoch, 2 * epoch, 3 * epoch]
    assert [step for _, step, _ in watcher.reports["test"]] == [epoch]
    assert [step_of(path) for path in saved(tmp_path / "run")] == [epoch]
    assert any(f"the best score on dev was that of step {epoch}" in note for note in watcher.notes)


def test_without_a_dev_split_it_is_refused(given: dict[str, str], tmp_path: Path) -> None:
    (Path(given["data"]) / "dev.conll").unlink()
    with pytest.raises(UserError, match=r"waits for a better score on dev, and there is no dev split"):
        run(config(given, train={"patience": 1}), tmp_path / "run")
