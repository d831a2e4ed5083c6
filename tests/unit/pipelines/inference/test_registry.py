"""Into MLflow and back, with a database in the test's folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from pipelines.errors import UserError
from pipelines.inference.entity_predictor import EntityPredictor
from pipelines.inference.predictor import Text
from pipelines.inference.registry import LOCAL, ModelRef, add_file, alias_of, fetch, register, resolve

pytestmark = pytest.mark.timeout(120)

TEXTS = ["John in 北京 😀.", ""]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("store")
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture(scope="module")
def run_id(store: str) -> str:
    client = MlflowClient(store)
    artifacts = Path(store.removeprefix("sqlite:///")).parent / "artifacts"
    run_id: str = client.create_run(client.create_experiment("e", artifacts.as_uri())).info.run_id
    return run_id


@pytest.fixture(scope="module")
def version(store: str, run_id: str, tiny_model_folder: Path) -> ModelVersion:
    return register(
        tiny_model_folder, name="tiny", alias="champion", run_id=run_id, tags={"task": "ner"}, tracking_uri=store
    )


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory that must stay empty: MLflow likes to make a database where it stands."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("uri", ["models:/tiny@champion", "models:/tiny/1"])
def test_what_is_registered_can_be_fetched(
    uri: str, store: str, version: ModelVersion, tiny_model_folder: Path
) -> None:
    assert (version.name, str(version.version), version.aliases, version.tags) == (
        "tiny",
        "1",
        ["champion"],
        {"task": "ner"},
    )
    assert resolve(uri, tracking_uri=store) == ModelRef("tiny", "1", "models:/tiny/1")
    folder, number = fetch(uri, tracking_uri=store)
    assert number == "1"
    for file in tiny_model_folder.iterdir():
        assert (folder / file.name).read_bytes() == file.read_bytes()


@pytest.mark.usefixtures("version")
def test_mlflow_alone_can_load_it_in_another_process(store: str, elsewhere: Path, tiny_model_folder: Path) -> None:
    rows = [{"text": text} for text in TEXTS]
    script = (
        "import json, mlflow\n"
        "model = mlflow.pyfunc.load_model('models:/tiny@champion')\n"
        f"print(json.dumps([model.predict({rows!r}), str(model.metadata.signature.outputs)]))"
    )
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    environment.pop("PYTHONPATH", None)
    # -P: without the current directory in the path, so that only the model's own code is found.
    result = subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    found, outputs = json.loads(result.stdout)
    expected = EntityPredictor.load(tiny_model_folder, threads=1).predict([Text(text) for text in TEXTS])
    assert [[(e["type"], e["start"], e["end"], e["text"]) for e in row["entities"]] for row in found] == [
        [(e.type, e.start, e.end, e.text) for e in row.entities] for row in expected
    ]
    assert "start: long" in outputs


def test_a_second_version_takes_the_alias(store: str, run_id: str, tiny_model_folder: Path) -> None:
    arguments = {"name": "twice", "alias": "champion", "run_id": run_id, "tags": {}, "tracking_uri": store}
    for expected in ("1", "2"):
        register(tiny_model_folder, **arguments)  # type: ignore[arg-type]
        assert resolve("models:/twice@champion", tracking_uri=store).version == expected


@pytest.mark.usefixtures("version", "elsewhere")
@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("models:/tine@champion", "No model 'tine' .*there is .*tiny"),
        ("models:/tiny@challenger", "no alias 'challenger': there is champion"),
        ("models:/tiny/9", "no version 9: there is 1"),
        ("models:/tiny", "write models:/NAME@ALIAS"),
        ("no/such/folder", "no model at 'no/such/folder'"),
    ],
)
def test_what_is_not_there_is_an_error_that_names_what_is(uri: str, message: str, store: str) -> None:
    with pytest.raises(UserError, match=message):
        fetch(uri, tracking_uri=store)


def test_only_an_alias_can_come_to_mean_another_version() -> None:
    assert alias_of("models:/tiny@champion") == ("tiny", "champion")
    assert [alias_of(uri) for uri in ("models:/tiny/1", "models:/tiny", "runs/x/model")] == [None] * 3


@pytest.mark.usefixtures("version")
def test_a_file_can_be_put_beside_a_model_that_is_registered_or_lies_in_a_folder(
    store: str, tmp_path: Path, tiny_model_folder: Path
) -> None:
    file = tmp_path / "baseline.json"
    file.write_text("{}")
    assert add_file("models:/tiny@champion", file, tracking_uri=store) == "models:/tiny/1"
    folder, _ = fetch("models:/tiny/1", tracking_uri=store)
    assert (folder / file.name).read_text() == "{}"
    copied = tmp_path / "copied"
    shutil.copytree(tiny_model_folder, copied)
    assert add_file(str(copied), file, tracking_uri=None) == str(copied / file.name)
    assert (copied / file.name).read_text() == "{}"


def test_a_folder_is_fetched_as_it_is(tiny_model_folder: Path) -> None:
    assert fetch(str(tiny_model_folder), tracking_uri=None) == (tiny_model_folder, LOCAL)


def test_a_database_that_is_not_there_is_not_made(elsewhere: Path) -> None:
    with pytest.raises(UserError, match="no MLflow database"):
        resolve("models:/tiny@champion", tracking_uri=f"sqlite:///{elsewhere}/none.db")


def test_a_pickle_is_neither_registered_nor_fetched(
    store: str, run_id: str, tmp_path: Path, tiny_model_folder: Path
) -> None:
    (tmp_path / "config.json").write_bytes((tiny_model_folder / "config.json").read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"pytorch_model\.bin"):
        register(tmp_path, name="bad", alias="champion", run_id=run_id, tags={}, tracking_uri=store)
    with pytest.raises(UserError, match=r"pytorch_model\.bin"):
        fetch(str(tmp_path), tracking_uri=None)


@pytest.mark.usefixtures("elsewhere")
def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(UserError, match=r"http://\*\*\*@127\.0\.0\.1:9") as caught:
        resolve("models:/tiny@champion", tracking_uri="http://me:secret@127.0.0.1:9")
    assert "secret" not in str(caught.value)
