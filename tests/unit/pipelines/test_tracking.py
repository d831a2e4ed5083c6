import contextlib
import io
import json
import logging
import os
import socket
import sqlite3
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy import event
from sqlalchemy.engine import Engine

from pipelines.config import Config, TrackConfig, known_keys
from pipelines.errors import UserError
from pipelines.tracking import Tracker, tracking_uri


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        if name != "MLFLOW_DISABLE_TELEMETRY":  # Not the user's: pipelines.mlflow_store has set it.
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A SQLite file for all tests here (making one takes seconds), and what was said on stderr meanwhile."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('a folder') / 'mlflow.db'}"
    event.listen(Engine, "connect", _without_waiting_for_the_disk)
    with contextlib.redirect_stderr(io.StringIO()) as said:
        Tracker.start(config(uri, "fresh"), run_name="r").finish("FINISHED")
    event.remove(Engine, "connect", _without_waiting_for_the_disk)
    return uri, said.getvalue()


def _without_waiting_for_the_disk(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")


@pytest.fixture(scope="module")
def store(fresh: tuple[str, str]) -> str:
    return fresh[0]


def config(uri: str, experiment: str, *, system_metrics: bool = False) -> Config:
    return Config(track=TrackConfig(uri=uri, experiment=experiment, system_metrics=system_metrics))


def test_the_uri_is_the_configs_then_the_environments_then_a_file_in_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking_uri(TrackConfig()) == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert (tmp_path / "runs").is_dir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert tracking_uri(TrackConfig()) == "http://tracking:5000"
    assert tracking_uri(TrackConfig(uri="sqlite:///other/x.db")) == f"sqlite:///{tmp_path}/other/x.db"


def test_a_run_keeps_its_config_metrics_plan_pictures_and_files(store: str, tmp_path: Path) -> None:
    asked = config(store, "kept")
    tracker = Tracker.start(asked, run_name="first")
    tracker.plan({"stages": [{"stage": 0, "units": [0, 1]}]})
    for step in (1, 2):
        tracker.metrics(step, {"train/loss": 1 / step, "dev/work of art/f1": 0.5})
    for name in ("loss.png", "summary.json"):
        (tmp_path / name).write_bytes(b"content")
    tracker.picture(tmp_path / "loss.png")
    tracker.file(tmp_path / "summary.json")
    tracker.finish("FINISHED")

    client = MlflowClient(store)
    run = client.get_run(tracker.run_id)
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert client.get_experiment(tracker.experiment_id).name == "kept"
    # A section that is left out is one parameter, as is what has names of its own.
    one = {
        name: name
        for name in (
            "adapter",
            "continual",
            "data.replay",
            "devices",
            "energy.watts",
            "serve.jwt",
            "serve.plan",
            "serve.scale",
            "serve.tls",
            "serve.traces",
            "train.adversarial",
            "train.contrastive",
            "train.distil",
            "train.ewc",
        )
    }
    kept = [next((short for long, short in one.items() if key.startswith(f"{long}.")), key) for key in known_keys()]
    assert set(run.data.params) == set(kept)
    assert run.data.params["train.learning_rate"] == "2e-05"
    assert run.data.params["train.betas"] == "[0.9, 0.999]"
    assert run.data.params["plan.cut"] == "null"
    history = client.get_metric_history(tracker.run_id, "train/loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 1.0), (2, 0.5)]

    folder = Path(store.removeprefix("sqlite:///")).parent / "mlartifacts" / tracker.run_id / "artifacts"
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "config.yaml",
        "pictures/loss.png",
        "plan.json",
        "summary.json",
    ]
    assert Config.model_validate(yaml.safe_load((folder / "config.yaml").read_text())) == asked
    assert json.loads((folder / "plan.json").read_text()) == {"stages": [{"stage": 0, "units": [0, 1]}]}


def test_metrics_cost_the_loop_well_under_a_millisecond(store: str) -> None:
    tracker = Tracker.start(config(store, "cost"), run_name="r")
    values = {f"stage/{stage}/busy": 0.5 for stage in range(12)}
    begin = time.perf_counter()
    for step in range(200):
        tracker.metrics(step, values)
    seconds = (time.perf_counter() - begin) / 200
    tracker.finish("FINISHED")
    assert seconds < 1e-3
    assert len(MlflowClient(store).get_metric_history(tracker.run_id, "stage/3/busy")) == 200


def test_an_error_of_the_thread_surfaces_at_the_next_call_and_fails_the_run(store: str) -> None:
    tracker = Tracker.start(config(store, "refused"), run_name="r")
    tracker.metrics(1, {"no:such?name": 1.0})
    with pytest.raises(MlflowException, match="no:such"):
        tracker.flush()
    with pytest.raises(MlflowException, match="no:such"):
        tracker.metrics(2, {"fine": 1.0})
    with pytest.raises(MlflowException, match="no:such"):
        tracker.plan({})
    tracker.finish("FINISHED")  # Told before: not told twice.
    assert MlflowClient(store).get_run(tracker.run_id).info.status == "FAILED"


def test_an_error_of_the_thread_surfaces_at_finish_at_the_latest(store: str) -> None:
    tracker = Tracker.start(config(store, "refused"), run_name="r")
    tracker.metrics(1, {"no:such?name": 1.0})
    with pytest.raises(MlflowException, match="no:such"):
        tracker.finish("FINISHED")
    assert MlflowClient(store).get_run(tracker.run_id).info.status == "FAILED"


def test_a_run_ends_with_the_status_it_is_given_and_only_once(store: str) -> None:
    tracker = Tracker.start(config(store, "ends"), run_name="r")
    tracker.finish("KILLED")
    tracker.finish("FINISHED")
    assert MlflowClient(store).get_run(tracker.run_id).info.status == "KILLED"


def test_system_metrics_start_and_stop_with_the_run_without_a_word(
    store: str, capfd: pytest.CaptureFixture[str]
) -> None:
    tracker = Tracker.start(config(store, "system", system_metrics=True), run_name="r")
    assert any(thread.name == "SystemMetricsMonitor" for thread in threading.enumerate())
    tracker.finish("FINISHED")
    assert not any(thread.name == "SystemMetricsMonitor" for thread in threading.enumerate())
    assert MlflowClient(store).get_run(tracker.run_id).info.status == "FINISHED"
    assert capfd.readouterr() == ("", "")


def test_making_a_store_says_nothing_and_leaves_the_loggers_as_they_were(fresh: tuple[str, str]) -> None:
    assert fresh[1] == ""
    assert logging.getLogger("mlflow.store.db.utils").getEffectiveLevel() == logging.INFO


def test_a_deleted_experiment_is_named_with_the_way_to_restore_it(store: str) -> None:
    client = MlflowClient(store)
    client.delete_experiment(client.create_experiment("deleted"))
    with pytest.raises(UserError, match=r"'deleted' .* was deleted\. Restore it .*or set track\.experiment"):
        Tracker.start(config(store, "deleted"), run_name="r")


def test_a_server_that_is_not_there_is_named_quickly_and_without_its_password() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # Bound but not listening: nobody else's, and refused at once.
        port = taken.getsockname()[1]
        begin = time.monotonic()
        with pytest.raises(UserError) as caught:
            Tracker.start(config(f"http://me:secret@127.0.0.1:{port}", "x"), run_name="r")
    assert time.monotonic() - begin < 10
    assert f"MLflow cannot be used at http://***@127.0.0.1:{port}: " in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ


def test_a_file_that_is_no_database_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("hello " * 1000)
    with pytest.raises(UserError, match=r"x\.db: file is not a database\."):
        Tracker.start(config(f"sqlite:///{tmp_path}/x.db", "x"), run_name="r")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"The folder for the MLflow database .*/file/mlflow\.db cannot be made"):
        tracking_uri(TrackConfig(uri=f"sqlite:///{tmp_path}/file/mlflow.db"))


def test_the_folders_that_mlflow_no_longer_writes_are_refused_with_what_to_use(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sqlite:///PATH\.db"):
        Tracker.start(config(str(tmp_path / "mlruns"), "x"), run_name="r")


def how_to_open(uri: str) -> str:
    """What a tracker says; the client is never asked."""
    client = SimpleNamespace()
    tracker = Tracker(client, uri, "3", "abc")  # type: ignore[arg-type]
    return tracker.how_to_open()


def test_how_to_open_is_a_command_for_a_file_and_an_address_for_a_server() -> None:
    assert how_to_open("sqlite:////my runs/mlflow.db") == (
        "mlflow ui --backend-store-uri 'sqlite:////my runs/mlflow.db'"
    )
    assert how_to_open("https://me:secret@tracking:5000/") == "https://***@tracking:5000/#/experiments/3/runs/abc"
