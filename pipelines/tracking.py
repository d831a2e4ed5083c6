"""The run's record in MLflow, written by the driver alone.

    driver:  metrics() -> list -> (a thread, every second) -> log_batch -> store
             plan(), picture(), file() -------------------------------> store

SQLite takes one writer on one host, which is why no actor writes here.
"""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pipelines.mlflow_store import IMPATIENT, SQLITE, WHERE_TO, environment, explained, quiet, shown, without_password

# isort: split
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.tracking.context.registry import resolve_tags

from pipelines.config import Config, TrackConfig
from pipelines.errors import UserError
from pipelines.report.writer import Writer

Status = Literal["FINISHED", "FAILED", "KILLED"]

MOST_METRICS_IN_BATCH = 1000
MOST_PARAMS_IN_BATCH = 100
MOST_CHARACTERS_IN_PARAM = 6000
SECONDS_TO_FINISH = 120.0
SECONDS_BETWEEN_SAMPLES = 5
# MLflow prints the run's address when a run ends, with the password; `how_to_open` is without.
SILENT = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}


def tracking_uri(track: TrackConfig) -> str:
    """`track.uri`, or MLFLOW_TRACKING_URI, or `runs/mlflow.db` here; the folder of a SQLite file is made.

    A SQLite path is made absolute: MLflow would read it anew from every process's working directory.

    Raises:
        UserError: the folder cannot be made.
    """
    uri = track.uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}runs/mlflow.db"
    if not uri.startswith(SQLITE):
        return uri
    path = Path(uri.removeprefix(SQLITE)).absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder for the MLflow database {path} cannot be made ({error}). {WHERE_TO}") from None
    return f"{SQLITE}{path.as_posix()}"


class Tracker:
    """One run in MLflow. Every method but `metrics` waits for the store."""

    def __init__(self, client: MlflowClient, uri: str, experiment_id: str, run_id: str) -> None:
        """Use `Tracker.start`."""
        self._client = client
        self._uri = uri
        self._experiment_id = experiment_id
        self._run_id = run_id
        self._monitor: SystemMetricsMonitor | None = None
        self._told = False
        self._finished = False
        self._writer = Writer(self._write, f"Metrics of the run {run_id} for MLflow at {shown(uri)}")

    @classmethod
    def start(cls, config: Config, *, run_name: str) -> Tracker:
        """Create the experiment if need be, start the run, and log the configuration to it.

        Parameters are the config's keys in dotted form; `config.yaml` is the resolved config. Both without the
        password that `track.uri` may hold.

        Raises:
            UserError: MLflow cannot be reached or used at the URI, which the message names.
        """
        uri = tracking_uri(config.track)
        with environment(IMPATIENT), quiet(), explained(uri, opening=True):
            _check_sqlite(uri)
            client = MlflowClient(uri)
            experiment_id = _experiment(client, uri, config.track.experiment or config.run.name)
            run = client.create_run(experiment_id, run_name=run_name, tags=resolve_tags())
        tracker = cls(client, uri, experiment_id, run.info.run_id)
        try:
            with quiet(), explained(uri):
                tracker._log_config(config)
                if config.track.system_metrics:
                    tracker._monitor = SystemMetricsMonitor(tracker.run_id, SECONDS_BETWEEN_SAMPLES, tracking_uri=uri)
                    tracker._monitor.start()
        except BaseException:
            tracker.finish("FAILED")
            raise
        return tracker

    @property
    def run_id(self) -> str:
        return self._run_id

    @property
    def experiment_id(self) -> str:
        return self._experiment_id

    @property
    def uri(self) -> str:
        """As MLflow needs it, with a password if it has one: not for logs."""
        return self._uri

    def how_to_open(self) -> str:
        """The run's address on a server, or the command that shows a database."""
        if urlsplit(self._uri).scheme in ("http", "https"):
            return f"{shown(self._uri).rstrip('/')}/#/experiments/{self._experiment_id}/runs/{self._run_id}"
        return f"mlflow ui --backend-store-uri {shlex.quote(shown(self._uri))}"

    def plan(self, plan: Mapping[str, Any], *, number: int = 0) -> None:
        """Store the plan as the artifact `plan.json`, and how each stage computes as parameters.

        Args:
            number: how many plans were before; a later one is the artifact `plan-NUMBER.json` alone: parameters stay.
        """
        with self._raising():
            self._client.log_dict(self._run_id, dict(plan), f"plan-{number}.json" if number else "plan.json")
            if number:
                return
            # Through all replicas.
            numbered = enumerate(plan["stages"])
            local = {f"stage_{n}": stage["local"] for n, stage in numbered if stage.get("local")}
            self._log_params(_flat(local))

    def picture(self, path: str | os.PathLike[str]) -> None:
        """Store a picture among the artifacts, under `pictures/`."""
        with self._raising():
            self._client.log_artifact(self._run_id, os.fspath(path), "pictures")

    def file(self, path: str | os.PathLike[str]) -> None:
        """Store a file among the artifacts."""
        with self._raising():
            self._client.log_artifact(self._run_id, os.fspath(path))

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Take note of numbers of `step`; they are in the store about a second later.

        Raises:
            UserError: MLflow could not be reached for numbers taken earlier.
            MlflowException: MLflow refused numbers taken earlier (a name it does not allow).
        """
        now = int(time.time() * 1e3)
        with self._raising():
            self._writer.put([Metric(name, float(value), now, step) for name, value in values.items()])

    def flush(self) -> None:
        """Wait until everything given to `metrics` is in the store. Raises as `finish`."""
        with self._raising():
            self._writer.flush(SECONDS_TO_FINISH)

    def finish(self, status: Status) -> None:
        """Write what is left and end the run, as FAILED if metrics could not be written. A second call does nothing.

        Raises:
            TimeoutError: what is left could not be written in 120 seconds.
            UserError, MlflowException: as `metrics`, unless an earlier call raised it.
        """
        if self._finished:
            return
        self._finished = True
        try:
            self._writer.close(SECONDS_TO_FINISH)
        except Exception:
            # The monitor is left to itself: its thread ends when it cannot write. And the store that failed before
            # may fail again, which the first error says.
            with suppress(MlflowException), environment({**IMPATIENT, **SILENT}):
                self._client.set_terminated(self._run_id, "FAILED")
            if not self._told:
                with explained(self._uri):
                    raise
            return
        with quiet(), environment(SILENT), explained(self._uri):
            if self._monitor is not None:
                self._monitor.finish()
            self._client.set_terminated(self._run_id, status)

    def _write(self, metrics: list[Metric]) -> None:
        for start in range(0, len(metrics), MOST_METRICS_IN_BATCH):
            batch = metrics[start : start + MOST_METRICS_IN_BATCH]
            self._client.log_batch(self._run_id, metrics=batch, synchronous=True)

    @contextmanager
    def _raising(self) -> Iterator[None]:
        """First what the thread met, whatever this call is for; then the call's own errors."""
        with explained(self._uri):
            if self._writer.error is not None:
                self._told = True
                raise self._writer.error
            yield

    def _log_config(self, config: Config) -> None:
        config = without_password(config)
        self._client.log_text(self._run_id, config.to_yaml(), "config.yaml")
        self._log_params(_flat(config.model_dump(mode="json")))

    def _log_params(self, named: Iterable[tuple[str, str]]) -> None:
        params = [Param(key, text) for key, text in named]
        for start in range(0, len(params), MOST_PARAMS_IN_BATCH):
            self._client.log_batch(self._run_id, params=params[start : start + MOST_PARAMS_IN_BATCH], synchronous=True)


def _experiment(client: MlflowClient, uri: str, name: str) -> str:
    """The id of the experiment `name`, created if it is not there."""
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, _artifact_location(uri)))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # Another run was faster.
    assert found is not None
    if found.lifecycle_stage != "active":
        raise UserError(
            f"The MLflow experiment {name!r} at {shown(uri)} was deleted. Restore it (mlflow experiments restore "
            f"--experiment-id {found.experiment_id}) or set track.experiment to another name."
        )
    return str(found.experiment_id)


def _artifact_location(uri: str) -> str | None:
    """Beside a SQLite file; anywhere else the server knows better. MLflow would take `mlruns` where the job started."""
    if not uri.startswith(SQLITE):
        return None
    return (Path(uri.removeprefix(SQLITE)).parent / "mlartifacts").as_uri()


def _check_sqlite(uri: str) -> None:
    """Raise sqlite3.Error if the file cannot be written. MLflow would find that out too, after 100 s of retries."""
    if uri.startswith(SQLITE):
        with closing(sqlite3.connect(uri.removeprefix(SQLITE), timeout=20)) as connection:
            connection.execute("BEGIN IMMEDIATE")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            # Cut to MLflow's limit; config.yaml has it whole.
            text = value if isinstance(value, str) else json.dumps(value)
            yield f"{prefix}{key}", text[:MOST_CHARACTERS_IN_PARAM]
