"""`python -m jobs.chaos` as people start it: kills, the same weights, and a report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import write_data, write_model

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]


def test_a_run_of_which_parts_are_killed_ends_with_the_weights_of_an_untouched_one(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        f"""
        model: {write_model(tmp_path / "model")}
        data: {{path: {write_data(tmp_path / "data", train=160)}, shards: 1}}
        train: {{batch_size: 4, epochs: 3, learning_rate: 0.003}}
        plan: {{stages: 2, cpus_per_stage: 0.5, timeout: 60}}
        checkpoint: {{every_steps: 30}}
        """,
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "jobs.chaos", str(config), "--kills", "1", "--seed", "3", "--json"],
        cwd=ROOT, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=290,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ok"]
    assert (report["differing"], report["uneven"], report["num_rows"]) == ([], [], 160)
    (kill,) = report["attacked"]["kills"]
    assert report["recoveries"] or report["attacked"]["submissions"] > 1
    assert f"kill 1/1: a {kill['who']}" in done.stderr
