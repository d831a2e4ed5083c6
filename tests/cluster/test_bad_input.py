"""What goes wrong for users: one paragraph that names the place and the remedy, exit code 2, nothing written.

The job runs in this process; tests/e2e does the same by the command.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.train import app
from tests.tiny import write_data, write_model

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("ray_session", "store")]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given")
    write_model(folder / "model")
    write_model(folder / "slow", slow=True)
    write_data(folder / "data")
    (folder / "weights.pt").write_bytes(b"\x80\x02}q\x00.")
    return folder


@pytest.fixture
def store(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{given}/mlflow.db")


def refused(given: Path, *overrides: str) -> str:
    """The message of a job that is refused as it should be."""
    config = given / "config.yaml"
    config.write_text(
        f"model: {given}/model\ndata: {{path: {given}/data, shards: 1}}\nplan: {{stages: 2, cpus_per_stage: 0.5}}\n"
    )
    before = sorted(given.rglob("*"))
    done = CliRunner().invoke(app, [str(config), f"run.output={given}/out", *overrides])
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert sorted(given.rglob("*")) == before
    return done.stderr.strip().splitlines()[-1]


def test_a_missing_file(given: Path) -> None:
    message = refused(given, f"data.train={given}/trian.conll")
    assert "trian.conll" in message


def test_an_unknown_key(given: Path) -> None:
    assert "there is no key 'train.epoch'; did you mean 'train.epochs'?" in refused(given, "train.epoch=3")


def test_a_checkpoint_that_does_not_exist_or_is_a_pickle(given: Path) -> None:
    assert "There is no checkpoint at" in refused(given, f"checkpoint.resume={given}/nowhere")
    assert "never read" in refused(given, f"checkpoint.resume={given}/weights.pt")


def test_an_output_folder_that_cannot_be_written(given: Path) -> None:
    assert "The output folder /proc/run cannot be written" in refused(given, "run.output=/proc/run")
    assert "exists and is not empty" in refused(given, f"run.output={given}/data")


def test_a_tokenizer_that_is_not_a_fast_one(given: Path) -> None:
    message = refused(given, f"model.source={given}/slow")
    assert "(CTRLTokenizer) is not a fast one" in message


@pytest.mark.parametrize(
    ("rows", "place", "remedy"),
    [
        ("Ann\tB-PER\nlives\n", "line 2", "tag"),
        ("Ann\tB-PER\nlives\tX-Y\n", "line 2", "X-Y"),
        ("Ann\tI-PER\n", "line 1", "data.iob=repair"),
        ("\n\n", "bad.conll", ""),
    ],
    ids=["a missing tag", "an unknown tag", "an I- that opens an entity", "an empty set"],
)
def test_a_bad_training_file(given: Path, rows: str, place: str, remedy: str) -> None:
    bad = given / "bad.conll"
    bad.write_text(rows, encoding="utf-8")
    message = refused(given, f"data.train={bad}")
    assert "bad.conll" in message
    assert place in message
    assert remedy in message


def test_text_that_is_not_utf8(given: Path) -> None:
    (given / "bad.conll").write_bytes(b"Ann\tB-PER\nM\xfcller\tI-PER\n")
    message = refused(given, f"data.train={given}/bad.conll")
    assert "line 2" in message
    assert "UTF-8" in message


def test_a_label_in_test_that_train_lacks(given: Path) -> None:
    (given / "bad.conll").write_text("Acme\tB-ORG\n", encoding="utf-8")
    message = refused(given, f"data.test={given}/bad.conll")
    assert "The test split holds labels that train lacks: B-ORG" in message


def test_a_weight_for_a_label_that_there_is_not(given: Path) -> None:
    message = refused(given, "train.class_weights={PER: 2}")
    assert "gives a weight to 'PER', but the labels of the training split are O, B-LOC, I-LOC, B-PER, I-PER" in message
