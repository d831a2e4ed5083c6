"""Data sets that are learnt one after the other, on real actors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from cluster.continual import labels_of_all, learn_in_turn
from cluster.importance import estimate
from pipelines.config import Config, from_overrides
from pipelines.continual.folder import keep
from pipelines.errors import UserError
from pipelines.evaluate.answer import labels_of
from tests.cluster.faults import Faults, stage
from tests.cluster.test_training import assert_bitwise_equal, config, run
from tests.tiny import write_data, write_model

pytestmark = [pytest.mark.timeout(400), pytest.mark.usefixtures("ray_session")]

SETS = {"towns": ("Oslo", "Rome"), "people": ("Ann", "Bob"), "weather": ("rain", "sun")}


def write_sets(folder: Path) -> list[Path]:
    """Each with two labels that no other has."""
    for name, labels in SETS.items():
        rows = [{"text": f"{label} {'a' * (n % 5)}", "label": label} for n in range(8) for label in labels]
        (folder / name).mkdir(parents=True)
        for split, some in (("train", rows), ("test", rows[:6])):
            (folder / name / f"{split}.jsonl").write_text("\n".join(map(json.dumps, some)), encoding="utf-8")
    return [folder / name for name in SETS]


def settings(tmp_path: Path, *overrides: str) -> Config:
    sets = ", ".join(map(str, write_sets(tmp_path / "sets")))
    return from_overrides(
        [
            f"continual.sets=[{sets}]", f"model={write_model(tmp_path / 'model', layers=2)}", "data.shards=1",
            "train.task=sequence-classification", "train.epochs=1", "train.learning_rate=1e-3", "plan.stages=2",
            "plan.cpus_per_stage=0.25", f"track.uri=sqlite:///{tmp_path}/mlflow.db", "track.system_metrics=false",
            "run.name=tiny", *overrides,
        ]
    )  # fmt: skip


@pytest.mark.parametrize(
    "method",
    [
        ("continual.method=replay", "continual.kept=3"),
        ("continual.method=ewc", "continual.strength=10"),
        ("continual.method=lwf",),
    ],
    ids=["replay", "ewc", "lwf"],
)
def test_every_set_is_a_run_from_the_model_of_the_one_before_and_all_so_far_are_scored(
    tmp_path: Path, method: tuple[str, ...]
) -> None:
    told: list[str] = []
    wanted = settings(tmp_path, *method)
    found = learn_in_turn(wanted, folder=tmp_path / "turns", tell=told.append)
    assert [len(scores) for scores in found.after] == [1, 2, 3]
    assert (found.sets, found.score_name, len(told)) == (tuple(SETS), "accuracy", 6)
    assert json.loads((tmp_path / "turns" / "continual.json").read_text())["after"] == [*map(list, found.after)]
    assert (tmp_path / "turns" / "forgetting.png").is_file()
    summaries = [json.loads((tmp_path / "turns" / f"set-{k}" / "summary.json").read_text()) for k in (1, 2, 3)]
    rows = [16, 16 + 3, 16 + 6] if "replay" in method[0] else [16, 16, 16]
    assert [summary["data"]["train"]["rows"] for summary in summaries] == rows
    labels = sorted(label for labels in SETS.values() for label in labels)
    assert all(labels_of(tmp_path / "turns" / f"set-{k}" / "model") == labels for k in (1, 2, 3))
    assert found.after[2][2] == pytest.approx(summaries[2]["test"][-1]["score"])
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = [one for one in client.search_experiments() if one.name == "tiny"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [one for one in runs if "mlflow.parentRunId" not in one.data.tags]
    assert len([one for one in runs if one.data.tags.get("mlflow.parentRunId") == parent.info.run_id]) == 3
    assert parent.data.metrics["forgetting"] == pytest.approx(found.forgetting)
    # As if it had been killed at the end of the last run.
    keep(replace(found, after=found.after[:2]), tmp_path / "turns")
    (tmp_path / "turns" / "set-3" / "summary.json").unlink()
    assert learn_in_turn(wanted, folder=tmp_path / "turns", tell=told.append) == found
    assert len(told) == 6 + 3


def test_sets_are_looked_at_before_the_first_of_them_is_learnt(tmp_path: Path) -> None:
    wanted = settings(tmp_path)
    last = tmp_path / "sets" / "weather"
    assert labels_of_all(wanted) == ["Ann", "Bob", "Oslo", "Rome", "rain", "sun"]
    (last / "test.jsonl").write_text('{"text": "a", "label": "snow"}')
    with pytest.raises(UserError, match="The test split holds labels that train lacks: snow"):
        learn_in_turn(wanted, folder=tmp_path / "turns", tell=print)
    (last / "test.jsonl").unlink()
    with pytest.raises(UserError, match="weather has no test split"):
        learn_in_turn(wanted, folder=tmp_path / "turns", tell=print)
    assert not (tmp_path / "turns").exists()


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("given")
    return {"model": str(write_model(folder / "model")), "data": str(write_data(folder / "data"))}


@pytest.fixture(scope="module")
def importance(given: dict[str, str], ray_session: None) -> Path:  # noqa: ARG001
    path = Path(given["data"]) / "importance.safetensors"
    estimate(config(given), path=path, sample=20)
    return path


def test_what_mattered_does_not_depend_on_the_cut(given: dict[str, str], importance: Path, tmp_path: Path) -> None:
    spread: dict[str, Any] = {"plan": {"stages": 1}, "data": {"shards": 3}}
    estimate(config(given, **spread), path=tmp_path / "one", sample=20)
    assert (tmp_path / "one").read_bytes() == importance.read_bytes()


def test_weights_are_held_back_alike_on_any_cut_and_when_a_stage_was_lost(
    given: dict[str, str], importance: Path, tmp_path: Path
) -> None:
    train = {"ewc": {"importance": str(importance), "strength": 100.0}}
    run(config(given, plan={"stages": 1}, train=train), tmp_path / "one")
    two = config(given, plan={"timeout": 30}, train=train)
    recovery = two.recovery.model_copy(update={"copy_every": 5, "silence": 5})
    faults = Faults().kill(stage(1), after=8)
    watcher = faults.run(two.model_copy(update={"recovery": recovery}), tmp_path / "two")
    assert [found.lost for found in watcher.recoveries] == [["stage 1"]]
    assert_bitwise_equal(tmp_path / "one", tmp_path / "two")
    free = run(config(given, plan={"stages": 1}), tmp_path / "free")
    assert free.steps[-1].loss != watcher.steps[-1].loss


def test_a_run_goes_on_from_a_checkpoint_with_the_same_importance_only(
    given: dict[str, str], importance: Path, tmp_path: Path
) -> None:
    # The rate does not depend on how long a run is to be.
    train = {"ewc": {"importance": str(importance), "strength": 100.0}, "warmup": 0.0, "decay": "constant"}
    whole = config(given, train=train)
    run(whole, tmp_path / "whole")
    run(config(given, train={**train, "max_steps": 12}), tmp_path / "half")
    run(config(given, train=train, plan={"stages": 1}, resume=tmp_path / "half"), tmp_path / "rest")
    assert_bitwise_equal(tmp_path / "whole", tmp_path / "rest")
    other = tmp_path / "other.safetensors"
    estimate(config(given), path=other, sample=3)
    (tmp_path / "kept.safetensors").write_bytes(importance.read_bytes())
    try:
        importance.write_bytes(other.read_bytes())
        with pytest.raises(UserError, match="comes from another run: its importance is"):
            run(config(given, train=train, resume=tmp_path / "half"), tmp_path / "wrong")
    finally:
        importance.write_bytes((tmp_path / "kept.safetensors").read_bytes())
