"""A model's folder and labelled rows, from the two of them to the report, and as a command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.config import DataConfig
from pipelines.errors import UserError
from pipelines.robustness.examine import examine
from tests.unit.pipelines.inference.conftest import make_model_folder
from tests.unit.pipelines.inference.test_every_predictor import saved

ROOT = Path(__file__).resolve().parents[4]
ROWS = "Ada\tB-PER\nlives\tO\nin\tO\nBerlin\tB-LOC\n.\tO\n\nBo\tB-PER\nand\tO\nAnn\tB-PER\nsing\tO\n\n" * 3
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("model") / "tiny", task="token-classification")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "test.conll"
    path.write_text(ROWS)
    return path


def test_a_model_with_random_weights_minds_much_and_the_same_each_time(model: Path, data: Path) -> None:
    found, again = (
        examine(str(model), DataConfig(test=str(data)), split="test", tracking_uri=None, rates={}, seed=3)
        for _ in range(2)
    )
    assert found == again
    assert (found.rows, len(found.flips), found.of_what) == (6, 10, "entities")
    assert sum(one.flipped for one in found.flips) > 0
    other = examine(str(model), DataConfig(test=str(data)), split="test", tracking_uri=None, rates={}, seed=4)
    assert found.flips != other.flips


def test_rows_are_drawn_by_the_seed(model: Path, data: Path) -> None:
    found = examine(
        str(model), DataConfig(test=str(data)), split="test", tracking_uri=None, rates={}, only=["case"], most_rows=2
    )
    assert (found.rows, [one.name for one in found.flips]) == (2, ["case"])


def test_what_cannot_be_examined_is_refused_in_words(model: Path, data: Path, tmp_path: Path) -> None:
    def refused(folder: Path, file: Path) -> str:
        with pytest.raises(UserError) as error:
            examine(str(folder), DataConfig(test=str(file)), split="test", tracking_uri=None, rates={})
        return str(error.value)

    chat = saved("causal-lm", tmp_path / "chat")
    assert "was trained for causal-lm, whose answers cannot be held against each other here" in refused(chat, data)
    nameless = make_model_folder(tmp_path / "nameless")
    assert "has no task.json that names its task" in refused(nameless, data)
    strange = tmp_path / "test.conll"
    strange.write_text("Ada\tB-CAT\n")
    assert "holds labels that the model does not know: B-CAT" in refused(model, strange)


@pytest.mark.parametrize("task", ["sequence-classification", "multi-label-classification"])
def test_texts_and_pairs_with_one_label_or_several_are_examined(task: str, tmp_path: Path) -> None:
    folder = saved(task, tmp_path / "model")
    labels = list(json.loads((folder / "config.json").read_text())["id2label"].values())
    several = task.startswith("multi")
    file = tmp_path / "test.jsonl"
    rows = [
        {
            "text": f"It rains in Rome {i}",
            "pair": "Ann left Oslo." if i % 2 else "",
            "label": labels if several else label,
        }
        for i, label in enumerate(labels)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = examine(str(folder), DataConfig(test=str(file)), split="test", tracking_uri=None, rates={}, examples=True)
    assert (found.rows, found.of_what, len(found.flips)) == (len(rows), "inputs", 9)
    assert all(one.said == one.rows for one in found.flips)
    assert {label for one in found.flips for label in one.labels} == set(labels)


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobs.robustness", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=200,
    )  # fmt: skip


def test_the_command_writes_page_and_report_and_says_by_its_exit_whether_too_much_flips(
    model: Path, data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    usual = (model, data, "--only", "case", "--only", "spaces", "--folder", folder)
    done = command(*usual, "--json", "--most-flips", 0.01, "--rate", "case=1")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "More than 1.0% flip under case.")
    assert json.loads(done.stdout) == json.loads((folder / "report.json").read_text())
    assert "Berlin" not in done.stdout + (folder / "page.html").read_text()
    done = command(*usual, "--rate", "case")
    assert (done.returncode, done.stderr.startswith("--rate takes NAME=SHARE")) == (2, True)
