"""A search whose trials are runs of the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from mlflow import MlflowClient

from cluster.tuning import search
from pipelines.config import from_overrides
from pipelines.errors import UserError
from pipelines.search.space import parse_space
from tests.tiny import write_data, write_model

pytestmark = [pytest.mark.timeout(400), pytest.mark.usefixtures("ray_session")]


@pytest.mark.parametrize("by", ["random", "tpe"])
def test_the_config_as_it_is_comes_first_and_every_trial_is_a_child_run(
    tmp_path: Path, by: Literal["random", "tpe"]
) -> None:
    write_data(tmp_path / "data", train=16, dev=4, test=4)
    write_model(tmp_path / "model", layers=1)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    config = from_overrides(
        [
            f"data.path={tmp_path}/data", "data.shards=1", f"model={tmp_path}/model", "plan.stages=1",
            "train.epochs=1", "train.learning_rate=2e-3", f"track.uri={store}",
            "track.system_metrics=false", "run.name=tiny",
        ]
    )  # fmt: skip
    told: list[str] = []
    found = search(
        config, parse_space(["train.learning_rate=1e-3..1e-2"]), trials=2, folder=tmp_path / "search", at_once=1,
        stop_early=True, seed=0, tell=told.append, by=by,
    )  # fmt: skip
    assert len({trial.number for trial in found.trials}) == 2
    assert found.default.chosen == {"train.learning_rate": 2e-3}
    assert all(trial.score is not None and trial.epochs == 1 and not trial.stopped for trial in found.trials)
    assert found.best.score == max(trial.score or 0 for trial in found.trials)
    assert len(told) == 2
    client = MlflowClient(store)
    (experiment,) = [one for one in client.search_experiments() if one.name == "tiny"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(children) == 2
    assert parent.data.metrics["best_score"] == pytest.approx(found.best.score)


def test_what_the_config_says_has_to_be_in_the_space_of_tpe(tmp_path: Path) -> None:
    write_data(tmp_path / "data", train=4, dev=1, test=1)
    config = from_overrides([f"data.path={tmp_path}/data", "plan.stages=1"])
    with pytest.raises(UserError, match=r"own train\.learning_rate=2e-05 is not in what is searched"):
        search(
            config, parse_space(["train.learning_rate=1e-3..1e-2"]), trials=2, folder=tmp_path / "search", at_once=1,
            stop_early=True, seed=0, tell=print, by="tpe",
        )  # fmt: skip
    assert not (tmp_path / "search").exists()


def test_how_often_a_population_is_compared_needs_one(tmp_path: Path) -> None:
    write_data(tmp_path / "data", train=4, dev=1, test=1)
    config = from_overrides([f"data.path={tmp_path}/data", "plan.stages=1"])
    with pytest.raises(UserError, match=r"--every 2 says how often a population is compared: leave it out"):
        search(
            config, parse_space(["train.epochs=1..2"]), trials=2, folder=tmp_path / "search", at_once=1,
            stop_early=True, seed=0, tell=print, every=2,
        )  # fmt: skip


def test_without_a_dev_split_there_is_nothing_to_compare(tmp_path: Path) -> None:
    write_data(tmp_path / "data", train=4, dev=1, test=1)
    (tmp_path / "data" / "dev.conll").unlink()
    config = from_overrides([f"data.path={tmp_path}/data", "plan.stages=1"])
    with pytest.raises(UserError, match=r"compares scores on dev, and there is no dev split"):
        search(
            config, parse_space(["train.epochs=1..2"]), trials=2, folder=tmp_path / "search", at_once=1,
            stop_early=True, seed=0, tell=print,
        )  # fmt: skip
    assert not (tmp_path / "search").exists()
