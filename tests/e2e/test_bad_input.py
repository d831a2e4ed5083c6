"""A command that cannot be run as it is: one paragraph, exit code 2, nothing written. tests/cluster tries many more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import write_data, write_model

pytestmark = pytest.mark.timeout(120)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given")
    write_model(folder / "model")
    write_data(folder / "data")
    (folder / "config.yaml").write_text(
        f"model: {folder}/model\ndata: {{path: {folder}/data, shards: 1}}\nplan: {{stages: 2, cpus_per_stage: 0.5}}\n"
    )
    return folder


def refused(given: Path, *overrides: str) -> str:
    """The message of a job that is refused as it should be."""
    before = sorted(given.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-m", "jobs.train", str(given / "config.yaml"), f"run.output={given}/out", *overrides],
        cwd=ROOT,
        env=os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{given}/mlflow.db", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert sorted(given.rglob("*")) == before
    return done.stderr.strip().splitlines()[-1]


def test_an_unknown_key_is_told_before_anything_is_started(given: Path) -> None:
    assert "there is no key 'train.epoch'; did you mean 'train.epochs'?" in refused(given, "train.epoch=3")


def test_a_plan_that_this_machine_cannot_place_is_told_when_ray_has_started(given: Path) -> None:
    assert "The plan asks for 2000 CPUs (2 stages), but the cluster has" in refused(given, "plan.cpus_per_stage=1000")


def test_a_row_that_cannot_be_read_is_told_with_its_place(given: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.conll").write_text("Ann\tB-PER\nlives\n", encoding="utf-8")
    message = refused(given, f"data.train={tmp_path}/bad.conll")
    assert "bad.conll" in message
    assert "line 2" in message
