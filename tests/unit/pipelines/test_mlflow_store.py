"""What every use of MLflow shares; errors and silence are tested where they are met, in tracking and registry."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.config import Config, TrackConfig
from pipelines.mlflow_store import environment, shown, without_password

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("module", ["pipelines.tracking", "pipelines.inference.registry"])
def test_mlflow_does_not_report_its_use_and_makes_no_id_for_it(module: str, tmp_path: Path) -> None:
    code = f"import {module}; from mlflow.telemetry import get_telemetry_client; print(get_telemetry_client())"
    # No more than this: MLflow is silent by itself where it sees pytest or a CI.
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=clean, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "None"
    assert not list(tmp_path.rglob("telemetry*"))


def test_what_the_user_has_set_stays_and_the_rest_is_set_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTLEY_TEST_SET", "mine")
    monkeypatch.delenv("MOTLEY_TEST_UNSET", raising=False)
    with environment({"MOTLEY_TEST_SET": "ours", "MOTLEY_TEST_UNSET": "ours"}):
        assert (os.environ["MOTLEY_TEST_SET"], os.environ["MOTLEY_TEST_UNSET"]) == ("mine", "ours")
    assert os.environ["MOTLEY_TEST_SET"] == "mine"
    assert "MOTLEY_TEST_UNSET" not in os.environ


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("http://me:secret@tracking:5000/a", "http://***@tracking:5000/a"),
        ("postgresql://me:se@cret@host/db", "postgresql://***@host/db"),
        ("http://tracking:5000", "http://tracking:5000"),
        ("sqlite:////my runs/mlflow.db", "sqlite:////my runs/mlflow.db"),
    ],
)
def test_an_address_is_shown_without_user_and_password(uri: str, expected: str) -> None:
    assert shown(uri) == expected
    assert without_password(Config(track=TrackConfig(uri=uri))) == Config(track=TrackConfig(uri=expected))


def test_a_config_without_an_address_is_stored_as_it_is() -> None:
    assert without_password(Config()) == Config()
