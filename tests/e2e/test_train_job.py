"""The main job as people start it: a command, its run folder, its record in MLflow, and its end by a signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.tiny import write_data, write_model

pytestmark = pytest.mark.timeout(240)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job")
    write_model(folder / "model")
    write_data(folder / "data")
    config = {
        "run": {"name": "tiny"},
        "model": str(folder / "model"),
        "data": {"path": str(folder / "data"), "shards": 1},
        "train": {"epochs": 2, "batch_size": 8, "learning_rate": 3e-3},
        "plan": {"stages": 2, "cpus_per_stage": 0.5},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config))
    return folder


def command(place: Path, *overrides: str) -> list[str]:
    return [sys.executable, "-m", "jobs.train", str(place / "tiny.yaml"), *overrides]


def environment(place: Path) -> dict[str, str]:
    return os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{place}/mlflow.db", "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def summary(place: Path) -> dict[str, Any]:
    done = subprocess.run(
        [*command(place, f"run.output={place}/run"), "--json"],
        cwd=ROOT, env=environment(place), capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "step 12/12" in done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_run_folder_holds_what_the_readme_says(place: Path, summary: dict[str, Any]) -> None:
    run = place / "run"
    assert json.loads((run / "summary.json").read_text()) == summary
    assert yaml.safe_load((run / "config.yaml").read_text())["train"]["epochs"] == 2
    assert sorted(path.name for path in (run / "pictures").iterdir()) == ["confusion.png", "loss.png", "timeline.png"]
    assert [path.name for path in sorted((run / "checkpoints").iterdir())] == ["step-00000006", "step-00000012"]
    assert [entry["epoch"] for entry in summary["dev"]] == [1, 2]
    assert set(summary["test"][0]["types"]) == {"PER", "LOC"}
    assert summary["timing"]["step_over_ideal"] >= 1
    assert summary["energy"]["joules"] == pytest.approx(sum(each["joules"] for each in summary["energy"]["stages"]))
    assert 0 <= summary["data"]["train"]["padding_waste"] < 0.5


def test_the_model_folder_loads_with_from_pretrained_and_holds_no_pickle(place: Path, summary: dict[str, Any]) -> None:
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    model = AutoModelForTokenClassification.from_pretrained(place / "run" / "model")
    assert sorted(model.config.label2id) == sorted(summary["labels"])
    assert AutoTokenizer.from_pretrained(place / "run" / "model").is_fast
    kinds = {path.suffix for path in (place / "run").rglob("*") if path.is_file()}
    assert kinds == {".json", ".jsonl", ".safetensors", ".yaml", ".png"}


def test_mlflow_holds_the_run_and_the_registered_champion(place: Path, summary: dict[str, Any]) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place}/mlflow.db")
    run = client.get_run(summary["mlflow"]["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["plan.stages"] == "2"
    assert {"loss", "grad_norm", "tokens_per_second", "busy/stage_1", "dev/f1", "test/PER/f1", "padding_waste"} <= set(
        run.data.metrics
    )
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 12
    artifacts = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {"config.yaml", "plan.json", "summary.json", "pictures"} <= artifacts
    assert client.get_model_version_by_alias("tiny", "champion").run_id == run.info.run_id


@contextmanager
def going_on(place: Path, *overrides: str) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
    """A job that is under way, and the lines that it prints on stderr."""
    job = subprocess.Popen(
        command(place, *overrides),
        cwd=ROOT, env=environment(place), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert job.stderr is not None
        yield job, iter(job.stderr.readline, "")
    finally:
        job.kill()
        job.wait()


def until(what: str, lines: Iterator[str]) -> str:
    """What is printed up to a line that begins with this, and that line."""
    read: list[str] = []
    for line in lines:
        read.append(line)
        if line.startswith(what):
            return "".join(read)
    pytest.fail(f"no line began with {what!r}: {''.join(read)}")


def stopped(job: subprocess.Popen[str], lines: Iterator[str], number: signal.Signals, code: int) -> None:
    """A signal in the middle of its steps ends a job in order, with a checkpoint and without a process left."""
    offspring = psutil.Process(job.pid).children(recursive=True)
    assert offspring
    job.send_signal(number)
    rest = "".join(lines)
    assert job.wait(timeout=60) == code, rest
    assert "Stopped. Go on with: the same command, or with checkpoint.resume=" in rest
    assert "Traceback" not in rest
    _, alive = psutil.wait_procs(offspring, timeout=20)
    assert alive == []


def newest(folder: Path) -> int:
    """Steps of a run's last checkpoint."""
    last = sorted((folder / "checkpoints").glob("step-*"))[-1]
    assert (last / "checkpoint.json").is_file()
    return int(last.name.removeprefix("step-"))


def refused(place: Path, *overrides: str) -> str:
    done = subprocess.run(
        command(place, *overrides), cwd=ROOT, env=environment(place), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    return done.stderr


@pytest.mark.timeout(400)
def test_a_run_goes_on_from_what_sigkill_ctrl_c_and_sigterm_left_and_not_while_it_is_going_on(
    place: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    same = [f"run.output={run}", "train.epochs=2000", "plan.stages=1"]
    with going_on(place, *same) as (job, lines):
        until("checkpoint ", lines)
        assert f"A run is still going on in {run} (process {job.pid} on " in refused(place, *same)
        offspring = psutil.Process(job.pid).children(recursive=True)
    # What a killed job leaves ends with its Ray.
    psutil.wait_procs(offspring, timeout=60)
    done = newest(run)
    with going_on(place, *same) as (job, lines):
        said = until("step ", lines)
        assert f"Going on with the unfinished run {run}" in said
        assert f"Going on from step {done}: " in said
        assert "checkpoint.resume=never" in said
        stopped(job, lines, signal.SIGINT, 130)
    assert newest(run) > done
    done = newest(run)
    with going_on(place, *same, f"checkpoint.resume={run}") as (job, lines):
        assert f"Going on from step {done}: " in until("step ", lines)
        stopped(job, lines, signal.SIGTERM, 143)
    done = newest(run)
    last = subprocess.run(
        [*command(place, *same), f"train.max_steps={done + 1}", "--json"],
        cwd=ROOT, env=environment(place), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert last.returncode == 0, last.stderr
    assert json.loads(last.stdout)["resumed_from_step"] == done
    assert "it holds a finished run" in refused(place, *same)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real Ray cluster with its dashboard, as the address for `ray job submit`."""
    import ray

    # As in an activated environment: a job's `python` is found on the PATH of the cluster.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    # Ray itself looks for a free port for the dashboard, at the moment when it takes it.
    context = ray.init(address="local", num_cpus=4, include_dashboard=True, logging_level="WARNING")
    yield f"http://{context.dashboard_url}"
    ray.shutdown()


def test_ray_job_submit_runs_the_same_command_to_success(place: Path, tmp_path: Path, cluster: str) -> None:
    ray_command = str(Path(sys.executable).with_name("ray"))
    overrides = [f"run.output={tmp_path}/run", "train.max_steps=3", "plan.stages=1"]
    overrides += [f"track.uri=sqlite:///{tmp_path}/mlflow.db"]
    done = subprocess.run(
        [ray_command, "job", "submit", "--address", cluster, "--working-dir", ".", "--", "python", "-m", "jobs.train",
         str(place / "tiny.yaml"), *overrides],
        cwd=ROOT,
        env=environment(place),
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout.lower()
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps_run"] == 3
