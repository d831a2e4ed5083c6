"""`motley baseline`, with a model that labels texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.main import app
from pipelines.watch.baseline import FILE, read
from tests.tiny import write_classifier

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_classifier(tmp_path_factory.mktemp("model"), ["LABEL_0", "LABEL_1"])
    (folder / "task.json").write_text(json.dumps({"task": "sequence-classification"}))
    return folder


def run(*arguments: str | Path, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["baseline", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.stderr if code else done.stdout


def rows(path: Path, number: int) -> Path:
    lines = [json.dumps({"text": "Ann lives in Rome" * (n % 3 + 1), "label": "LABEL_0"}) for n in range(number)]
    path.write_text("\n".join(lines))
    return path


def test_it_is_written_beside_the_model(model: Path, tmp_path: Path) -> None:
    told = run(model, rows(tmp_path / "dev.jsonl", 120))
    assert told == f"120 rows are the baseline, now in {model / FILE}\n"
    found = read(model)
    assert found is not None
    assert found.num_inputs == 120
    assert found.labels is not None
    assert set(found.labels.names) <= {"LABEL_0", "LABEL_1"}


def test_texts_without_labels_do(model: Path, tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text("It rains\n" * 200)
    found = json.loads(run(model, tmp_path / "new.txt", "--texts", "--most", "150", "--json"))
    assert found["num_inputs"] == 150


def test_too_few_rows_are_refused(model: Path, tmp_path: Path) -> None:
    assert "5 rows are no baseline" in run(model, rows(tmp_path / "dev.jsonl", 5), code=2)
