"""`motley keys`, as people and scripts call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.main import app
from pipelines.inference.credentials import hash_key
from pipelines.inference.keys import read_keys


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def run(file: Path, *arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["keys", *arguments, "--file", str(file)])
    assert done.exit_code == code, done.output
    return done.stderr if code else done.stdout


def test_a_key_is_made_listed_rotated_and_revoked(file: Path) -> None:
    made = run(file, "add", "ada", "--scopes", "predict, explain", "--rate", "100/min")
    (key,) = read_keys(file).values()
    text = made.splitlines()[1].strip()
    assert made.startswith("The key of ada (predict, explain; 100/min; expires ")
    assert hash_key(text) == key.sha256
    listed = run(file, "list")
    assert listed.startswith(f"{key.id}  ada: predict, explain; 100/min; expires ")
    assert text not in listed
    rotated = run(file, "rotate", key.id, "--expires", "never")
    (again,) = read_keys(file).values()
    assert rotated.startswith("The key of ada (predict, explain; 100/min; never expires)")
    assert again.sha256 != key.sha256
    assert run(file, "revoke", key.id) == f"Revoked the key {key.id} of ada.\n"
    assert run(file, "list") == f"{file} holds no key.\n"


def test_scripts_read_json(file: Path) -> None:
    made = json.loads(run(file, "add", "ada", "--expires", "never", "--json"))
    key = made.pop("key")
    assert hash_key(key) == read_keys(file)[made["id"]].sha256
    assert made == {"id": made["id"], "name": "ada", "scopes": ["predict"], "created": made["created"]} | {
        "expires": None,
        "rate": None,
    }
    assert json.loads(run(file, "list", "--json")) == [made]
    assert set(json.loads(run(file, "rotate", made["id"], "--json"))) == {*made, "key"}
    assert json.loads(run(file, "revoke", made["id"], "--json"))["id"] == made["id"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list"], "cannot be read"),
        (["revoke", "x"], "has no key 'x'"),
        (["rotate", "x"], "has no key 'x'"),
        (["add", "ada", "--scopes", "write"], "There is no scope 'write'"),
        (["add", "ada", "--scopes", ""], "There is no scope ''"),
        (["add", "ada", "--expires", "soon"], "A key does not expire in 'soon'"),
        (["add", "ada", "--rate", "often"], "The key's rate should be"),
    ],
)
def test_a_mistake_ends_with_2_and_says_what_to_change(file: Path, arguments: list[str], said: str) -> None:
    assert said in run(file, *arguments, code=2)
    assert not file.exists()
