"""A trained model is asked by one actor and by two."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster.evaluating import evaluate_model
from pipelines.config import DataConfig
from pipelines.errors import UserError
from tests.tiny import write_classifier

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("ray_session")]

TEXTS = ["Ann left Oslo", "it rains", "Bob Lee met Carl there", "Rome", "in Lima it rains", "Eve lives in Bern"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_classifier(tmp_path / "model", ["no", "yes"])
    rows = [{"text": text, "label": "yes" if i % 2 else "no"} for i, text in enumerate(TEXTS * 3)]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def test_any_number_of_actors_finds_the_same(folder: Path) -> None:
    data = DataConfig(path=str(folder))
    one, two = (
        evaluate_model(str(folder / "model"), data, split="test", actors=actors, against=str(folder / "model"))
        for actors in (1, 2)
    )
    assert one.overall == two.overall
    assert one.overall.rows == 18
    assert [worst.row for worst in one.worst] == [worst.row for worst in two.worst]
    assert two.comparison is not None
    assert two.comparison.p == 1


def test_what_does_not_fit_together_is_an_error(folder: Path) -> None:
    data = DataConfig(path=str(folder))
    with pytest.raises(UserError, match=r"The folder .* has no dev file; it holds: model, test\.jsonl"):
        evaluate_model(str(folder / "model"), data, split="dev")
    (folder / "test.jsonl").write_text('{"text": "a", "label": "perhaps"}')
    with pytest.raises(UserError, match=r"labels that the model does not know: perhaps \(it knows no, yes\)"):
        evaluate_model(str(folder / "model"), data, split="test")
    (folder / "model" / "task.json").unlink()
    with pytest.raises(UserError, match=r"no task\.json that names its task"):
        evaluate_model(str(folder / "model"), data, split="test")
