"""`motley versions`, as people and scripts call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from jobs.main import app

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("store")
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    client.create_registered_model("ner")
    for _ in range(3):
        client.create_model_version("ner", folder.as_uri(), tags={"task": "token-classification"})
    client.set_registered_model_alias("ner", "champion", "1")
    return f"sqlite:///{folder}/mlflow.db"


def run(store: str, *arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["versions", *arguments, f"track.uri={store}"])
    assert done.exit_code == code, done.output
    return done.stderr if code else done.stdout


def test_a_version_is_tried_promoted_and_rolled_back(store: str) -> None:
    assert run(store, "try", "ner", "2", "--share", "0.1", "serve.trial.min_requests=5") == (
        "Version 2 of ner is tried; `list` shows how it does.\n"
    )
    rows = json.loads(run(store, "list", "ner", "--json"))
    assert [(row["version"], row["state"]) for row in rows] == [("3", ""), ("2", "tried as share:0.1"), ("1", "served")]
    assert run(store, "promote", "ner") == "Version 2 of ner is served from now on.\n"
    assert run(store, "rollback", "ner", "--why", "too slow") == "Version 1 of ner is served again.\n"
    assert run(store, "try", "ner", "3").startswith("Version 3 of ner is tried")
    assert run(store, "drop", "ner") == "Version 3 of ner is no longer tried.\n"
    table = run(store, "list", "ner")
    assert "refused: too slow" in table
    assert "token-classification" in table
    assert run(store, "promote", "ner", "--version", "3") == "Version 3 of ner is served from now on.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "nerd"], "No model 'nerd' is registered"),
        (["try", "ner", "7"], "has no version 7"),
        (["try", "ner", "2", "--share", "7"], "give a share above 0, at most 1"),
        (["try", "ner", "2", "serve.trial.min_request=7"], "did you mean 'serve.trial.min_requests'"),
        (["drop", "ner"], "no challenger to drop"),
        (["list", "ner", "track.alias=best"], "no alias 'best'"),
    ],
)
def test_a_mistake_ends_with_2_and_says_what_to_change(store: str, arguments: list[str], said: str) -> None:
    assert said in run(store, *arguments, code=2)


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert "There is no MLflow database" in run(f"sqlite:///{tmp_path}/no.db", "list", "ner", code=2)
    assert list(tmp_path.iterdir()) == []
