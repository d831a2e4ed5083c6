"""The demo's own way, on data and a model made here: train, track, register, serve, ask, stop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import write_data, write_model

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(240)
def test_the_demo_serves_what_it_trained(tmp_path: Path) -> None:
    model, data = write_model(tmp_path / "model"), write_data(tmp_path / "data")
    overrides = [f"model.source={model}", f"data.path={data}", "train.epochs=1", f"run.output={tmp_path}/run"]
    done = subprocess.run(
        [sys.executable, "-m", "jobs.demo", *overrides, f"track.uri=sqlite:///{tmp_path}/mlflow.db"],
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=220,
    )
    assert done.returncode == 0, done.stderr
    assert "registered   addresses version 1, alias champion" in done.stdout
    assert "addresses version 1 answers at http://127.0.0.1:" in done.stdout
    assert "POST http://127.0.0.1:" in done.stdout
    assert "Traceback" not in done.stderr
