"""A model with fewer, narrower and thinner blocks learns again on real actors, and what became of it is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from jobs.prune import app
from pipelines.inference.predictors import load_predictor
from tests.tiny import write_data
from tests.unit.pipelines.compress.test_layers import tagger

pytestmark = [pytest.mark.timeout(400), pytest.mark.usefixtures("ray_session")]


def test_a_pruned_model_learns_again_and_is_held_against_the_whole_one(tmp_path: Path) -> None:
    folder, data, out = tagger(tmp_path / "model", layers=3), write_data(tmp_path / "data"), tmp_path / "out"
    asked = [
        str(folder), str(data), "--out", str(out), "--most-lost", "100", "--json", "train.epochs=1", "data.shards=1",
        "plan.stages=2", "plan.cpus_per_stage=0.25", f"track.uri=sqlite:///{tmp_path}/mlflow.db",
        "track.system_metrics=false",
    ]  # fmt: skip
    asked += ["--width", "0.5", "--weights", "0.5"]
    done = CliRunner().invoke(app, [*asked, "--layers", "2"])
    assert done.exit_code == 0, done.output
    report = json.loads((out / "report.json").read_text())
    assert [one["form"]["name"] for one in report["verdicts"]] == ["pruned", "recovered", "sparse"]
    assert (len(report["layers"]["kept"]), report["accepted"]) == (2, True)
    assert report["neurons"]["settings"] == {"intermediate_size": 32}
    assert report["verdicts"][2]["size"] < report["verdicts"][1]["size"] < 1
    assert report["verdicts"][2]["form"]["score"] == report["verdicts"][1]["form"]["score"]
    assert (out / "pruned.png").stat().st_size > 1000
    begun, ended = (load_file(out / name / "model.safetensors") for name in ("pruned", "run/model"))
    inside = [name for name, weight in begun.items() if ".layer." in name and weight.ndim == 2]
    assert len(inside) == 12
    assert all(torch.equal(begun[name] == 0, ended[name] == 0) for name in inside)
    assert not any(torch.equal(begun[name], ended[name]) for name in inside)
    assert load_predictor(out / "sparse", threads=1)
    # What is there already is not done again, and another wish is refused.
    before = (out / "run" / "summary.json").stat().st_mtime_ns
    assert CliRunner().invoke(app, [*asked, "--layers", "2"]).exit_code == 0
    assert (out / "run" / "summary.json").stat().st_mtime_ns == before
    other = CliRunner().invoke(app, [*asked, "--layers", "1"])
    assert other.exit_code == 2
    assert "is of another pruning" in other.output
