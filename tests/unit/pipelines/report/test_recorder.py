from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from pipelines.checkpoint_settings import CheckpointConfig
from pipelines.config import Config, TrackConfig, TrainConfig, load_config
from pipelines.plan.left_open import decided
from pipelines.plan.pace import Straggler
from pipelines.report.journal import read_journal
from pipelines.report.observer import Beginning, Move, StepNumbers
from pipelines.report.recorder import Recorder
from pipelines.train.events import StageReport

FACTS = {"rows": 1, "sub_words": 1, "padding_waste": 0.0, "in_pieces": 0, "cut": 0, "unseen": 0, "tags_repaired": 0}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """The address, with a password, of an MLflow server, and what it was sent.

    A fake, because only servers have passwords and a real one takes many seconds to start. Artifacts go straight to
    the folder `stored`, as with a server whose artifacts lie on a shared disk.
    """
    run = {
        "info": {
            "run_id": "abc",
            "run_uuid": "abc",
            "experiment_id": "1",
            "status": "RUNNING",
            "lifecycle_stage": "active",
            "artifact_uri": (tmp_path / "stored").as_uri(),
        },
        "data": {},
    }
    answers = {
        "experiments/get-by-name": {"experiment": {"experiment_id": "1", "name": "e", "lifecycle_stage": "active"}},
        "runs/create": {"run": run},
        "runs/get": {"run": run},
        "runs/update": {"run_info": run["info"]},
        "runs/log-batch": {},
    }
    sent: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            sent.append(self.rfile.read(int(self.headers["Content-Length"] or 0)).decode())
            found = answers.get(self.path.partition("?")[0].partition("/mlflow/")[2])
            body = json.dumps(found or {}).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://me:secret@127.0.0.1:{httpd.server_port}", sent
        httpd.shutdown()
        thread.join()


def of_one_stage(config: Config) -> Beginning:
    """A run of two steps."""
    stage = {"stage": 0, "units": ["model"], "num_parameters": 1, "num_trained": 1, "share": 1.0, "assigned": "CPU"}
    return Beginning(2, 0, 1, {"stages": [stage]}, {"train": FACTS}, ["O"], config)


def test_the_run_folder_and_mlflow_keep_the_same_config_as_it_was_planned_without_the_password(
    server: tuple[str, list[str]], tmp_path: Path
) -> None:
    uri, sent = server
    config = Config(train=TrainConfig(micro_batches="auto"), track=TrackConfig(uri=uri, system_metrics=False))
    recorder = Recorder(config, tmp_path / "run")
    try:
        planned = decided(config, micro_batches=8)
        recorder.begin(Beginning(1, 0, 1, {"stages": []}, {"train": FACTS}, ["O"], planned))
    finally:
        recorder.finish("FINISHED")
    text = (tmp_path / "run" / "config.yaml").read_text()
    assert yaml.safe_load(text)["track"]["uri"] == uri.replace("me:secret", "***")
    assert yaml.safe_load(text)["train"]["micro_batches"] == 8
    assert (tmp_path / "stored" / "config.yaml").read_text() == text
    assert any("track.uri" in body for body in sent)
    assert "secret" not in "".join(sent)


def test_a_run_that_goes_on_keeps_what_was_said_of_resuming_and_is_unfinished_again(
    server: tuple[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri, _ = server
    config = Config(track=TrackConfig(uri=uri, system_metrics=False))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.json").touch()
    recorder = Recorder(config, tmp_path / "run")
    recorder.note("Going on from step 3")
    assert capsys.readouterr().err == "Going on from step 3\n"
    settled = config.model_copy(update={"checkpoint": CheckpointConfig(resume="/the/run")})
    try:
        recorder.begin(Beginning(4, 3, 1, {"stages": []}, {"train": FACTS}, ["O"], settled))
    finally:
        recorder.finish("FINISHED")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["config.yaml", "journal.jsonl"]
    assert load_config(str(tmp_path / "run" / "config.yaml")).checkpoint.resume == "auto"


def test_a_step_that_changed_nothing_is_told_counted_and_sent_to_mlflow(
    server: tuple[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri, sent = server
    config = Config(track=TrackConfig(uri=uri, system_metrics=False))
    recorder = Recorder(config, tmp_path / "run")
    try:
        recorder.begin(of_one_stage(config))
        for step, skipped in ((1, True), (2, False)):
            norm = math.inf if skipped else 1.0
            report = StageReport(0, step, (), 0.5, norm, 0, loss_scale=65536.0 / step, skipped=skipped)
            recorder.step(StepNumbers(step, 1, 0.5, norm, 1e-3, 10, [], 1.0, 1.0, 0, [report]))
        summary = recorder.write_summary()
    finally:
        recorder.finish("FINISHED")
    assert summary["float16"] == {"steps_skipped": 1, "last_loss_scale": 32768.0}
    assert "step 1 changed nothing: gradients overflowed float16 with the loss scale 65536" in capsys.readouterr().err
    assert "steps_skipped" in "".join(sent)


def test_a_step_whose_numbers_are_not_finite_is_told_counted_written_down_and_sent_to_mlflow(
    server: tuple[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri, sent = server
    config = Config(track=TrackConfig(uri=uri, system_metrics=False))
    recorder = Recorder(config, tmp_path / "run")
    try:
        recorder.begin(of_one_stage(config))
        for step, poison in ((1, None), (2, "step 2 changed no weight: so it was")):
            loss = 0.5 if poison is None else math.nan
            report = StageReport(0, step, (), loss, loss, 0, skipped=poison is not None)
            recorder.step(StepNumbers(step, 1, loss, loss, 1e-3, 10, [], 1.0, 1.0, 0, [report], poison=poison))
        summary = recorder.write_summary()
    finally:
        recorder.finish("FINISHED")
    assert summary["poisoned"] == {"steps_skipped": 1, "last": ["step 2 changed no weight: so it was"]}
    assert "float16" not in summary
    assert "step 2 changed no weight: so it was (1 skipped so far)" in capsys.readouterr().err
    lines = list(read_journal(tmp_path / "run"))
    assert [line["what"] for line in lines] == ["began", "step", "step", "skipped", "finished"]
    assert (lines[2]["loss"], lines[3]["step"], lines[3]["why"]) == (None, 2, "step 2 changed no weight: so it was")
    assert "steps_skipped" in "".join(sent)


def test_a_move_and_a_slow_stage_are_told_written_down_and_sent_and_steps_of_fewer_stages_go_on(
    server: tuple[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri, sent = server
    config = Config(track=TrackConfig(uri=uri, system_metrics=False))
    recorder = Recorder(config, tmp_path / "run")
    stage = {"units": ["model"], "num_parameters": 1, "num_trained": 1, "share": 0.5, "assigned": "CPU"}
    two, one = {"stages": [stage | {"stage": j} for j in range(2)]}, {"stages": [stage | {"stage": 0}]}

    def step(number: int, num_stages: int) -> None:
        reports = [StageReport(j, number, (), 0.5, 1.0, 0) for j in range(num_stages)]
        recorder.step(StepNumbers(number, 1, 0.5, 1.0, 1e-3, 10, [], 1.0, 1.0, 0, reports))

    try:
        recorder.begin(Beginning(2, 0, 1, two, {"train": FACTS}, ["O"], config))
        step(1, 2)
        recorder.straggling(Straggler(1, 1, 0.5, 0.25))
        recorder.moved(Move("node 1f0c is gone.", ["1f0c"], [], 1, 0, two, one, {"left": 0.5, "built": 2.0}))
        step(2, 1)
        summary = recorder.write_summary()
    finally:
        recorder.finish("FINISHED")
    (move,) = summary["moves"]
    assert (move["stages_before"], move["stages"], move["replayed"], move["lost"]) == (2, 1, 1, ["1f0c"])
    assert summary["plan"] == one
    assert len(summary["energy"]["stages"]) == 3
    assert [line["what"] for line in read_journal(tmp_path / "run")] == [
        "began", "step", "straggling", "moved", "step", "finished"
    ]  # fmt: skip
    told = capsys.readouterr().err
    assert "moved: node 1f0c is gone. A new plan: 1 stage instead of 2; 1 steps run again; 2.5 s" in told
    assert "stage 1 is slow: it computed 0.50 s in step 1, 2.0 times what was predicted" in told
    assert "move_seconds/built" in "".join(sent)
