"""A population of runs that take over from each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from safetensors import safe_open

from cluster.tuning import search
from pipelines.config import from_overrides
from pipelines.report.journal import read_journal
from pipelines.search.space import parse_space
from tests.tiny import write_data, write_model

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("ray_session")]


def test_the_worst_goes_on_from_the_weights_of_the_best_with_another_rate(tmp_path: Path) -> None:
    write_data(tmp_path / "data", train=16, dev=4, test=4)
    write_model(tmp_path / "model", layers=1)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    config = from_overrides(
        [
            f"data.path={tmp_path}/data", "data.shards=1", f"model={tmp_path}/model", "plan.stages=1",
            "train.epochs=2", "train.batch_size=4", "train.learning_rate=1e-2", f"track.uri={store}",
            "track.system_metrics=false", "run.name=tiny",
        ]
    )  # fmt: skip
    told: list[str] = []
    folder = tmp_path / "search"
    found = search(
        config, parse_space(["train.learning_rate=1e-9..1e-2"]), trials=2, folder=folder, at_once=1, stop_early=True,
        seed=1, tell=told.append, by="population",
    )  # fmt: skip
    assert all(trial.epochs == 2 and not trial.stopped and trial.problem is None for trial in found.trials)
    client = MlflowClient(store)
    (experiment,) = [one for one in client.search_experiments() if one.name == "tiny"]
    tags = [run.data.tags for run in client.search_runs([experiment.experiment_id])]
    legs = {(one["motley.trial"], one["motley.leg"]): one for one in tags if "motley.trial" in one}
    assert len(legs) == 4
    (taker,) = [one for one in legs.values() if one.get("motley.taken_from") not in (None, one["motley.trial"])]
    worse, better = taker["motley.trial"], taker["motley.taken_from"]
    assert taker["motley.taken_at_step"] == "4"
    assert sum(f"went on from {better} at step 4" in line for line in told) == 1

    # Both learn from the same rows in the same order with the same dropout, so that the loss of the fifth step, before
    # it changes anything, says whose weights and moments these are.
    losses = {(trial, leg): losses_of(folder / trial / f"leg-{leg}" / "run") for trial, leg in legs}
    assert losses[worse, "0"][4] != losses[better, "0"][4]
    assert losses[worse, "1"][5] == losses[better, "1"][5]
    rates = [yaml.safe_load((folder / one / "leg-1/run/config.yaml").read_text())["train"]["learning_rate"]
             for one in (worse, better)]  # fmt: skip
    assert rates[0] != rates[1]
    assert found.best.folder is not None
    with safe_open(Path(found.best.folder) / "model" / "model.safetensors", "pt") as weights:
        assert len(list(weights.keys())) > 0


def losses_of(run: Path) -> dict[int, Any]:
    return {line["step"]: line["loss"] for line in read_journal(run) if line["what"] == "step"}
