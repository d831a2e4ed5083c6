"""Workers that come, go and end, and versions that change, while requests come in."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest
from mlflow import MlflowClient

from pipelines.config import Config, TrackConfig
from pipelines.inference.registry import register
from pipelines.serve_settings import ServeConfig, TrialConfig
from pipelines.versions.registry_view import RegistryView
from pipelines.workers_settings import ScaleConfig
from tests.cluster.loads import TEXTS, Load, computed, served, until, workers
from tests.unit.pipelines.inference.conftest import make_model_folder

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("ray_session")]


def test_no_request_fails_when_workers_are_killed(tmp_path: Path) -> None:
    settings = ServeConfig(port=0, auth="none", replicas=2, cpus_per_replica=0.5)
    folder = make_model_folder(tmp_path / "tiny")
    with served(str(folder), Config(serve=settings)) as url, Load(url, clients=4) as load:
        load.answered(20)
        for _ in range(2):
            until(lambda: len(workers()) == 2)
            # In the middle of a pass, as likely as not.
            os.kill(workers()[0], signal.SIGKILL)
            load.answered(50)
        front = computed()
    assert load.statuses == {200}
    assert front.num_inputs >= 2 * (len(load.answers) - 4)


def test_workers_come_with_the_load_and_all_go_without(tmp_path: Path) -> None:
    # So small a model is done with all that twelve clients ask in less than the usual time.
    scale = ScaleConfig(least=0, most=2, wait=0.001, up_after=1, down_after=2)
    settings = ServeConfig(port=0, auth="none", scale=scale, cpus_per_replica=0.5, max_batch_size=2)
    folder = make_model_folder(tmp_path / "tiny")
    with served(str(folder), Config(serve=settings)) as url:
        until(lambda: len(workers()) == 0)
        with Load(url, clients=12) as load:
            until(lambda: len(workers()) == 2)
            load.answered(20)
        until(lambda: len(workers()) == 0)
        assert httpx.post(f"{url}/v1/predict", json={"inputs": TEXTS}, timeout=60, trust_env=False).status_code == 200
    assert load.statuses == {200}


def test_no_request_fails_when_versions_change_and_one_that_is_no_good_never_answers(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(store)
    run = client.create_run(client.create_experiment("e", f"{tmp_path}/artifacts")).info.run_id
    folder = make_model_folder(tmp_path / "tiny")
    register(folder, name="tiny", alias="champion", run_id=run, tags={}, tracking_uri=store)
    settings = ServeConfig(
        port=0, auth="none", replicas=2, cpus_per_replica=0.5, follow_seconds=0.2, trial=TrialConfig(watch_seconds=1)
    )
    config = Config(serve=settings, track=TrackConfig(uri=store))
    view = RegistryView.of("tiny", config)
    with served("models:/tiny@champion", config) as url, Load(url, clients=4) as load:
        load.answered(10)
        register(folder, name="tiny", alias="champion", run_id=run, tags={}, tracking_uri=store)
        until(lambda: load.answers[-1].version == "2")
        os.kill(workers()[0], signal.SIGKILL)
        load.answered(10)
        view.roll_back("as a test", version="2", to="1")
        until(lambda: load.answers[-1].version == "1")
        # Another task's model, which must not come to answer.
        (folder / "task.json").write_text('{"task": "masked-lm"}')
        register(folder, name="tiny", alias="champion", run_id=run, tags={}, tracking_uri=store)
        until(lambda: "3" in view.read().refused)
        # One that no worker can load.
        (folder / "task.json").unlink()
        (folder / "model.safetensors").write_bytes(b"broken")
        register(folder, name="tiny", alias="champion", run_id=run, tags={}, tracking_uri=store)
        until(lambda: "4" in view.read().refused)
        assert "Traceback" not in view.read().refused["4"]
        load.answered(10)
        health = httpx.get(f"{url}/healthz", trust_env=False).json()
    assert load.statuses == {200}
    assert {one.version for one in load.answers} == {"1", "2"}
    assert health["version"] == "1"
