import json
import math
from pathlib import Path

import pytest

from pipelines.report.summary import write_json, write_whole


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "summary.json", {"f1": 0.5, "names": ("é", None), "steps": 3})
    assert (tmp_path / "new" / "summary.json").read_text(encoding="utf-8") == (
        '{\n  "f1": 0.5,\n  "names": [\n    "é",\n    null\n  ],\n  "steps": 3\n}\n'
    )


def test_a_number_that_json_does_not_know_becomes_null(tmp_path: Path) -> None:
    write_json(tmp_path / "s.json", {"loss": math.nan, "norms": [math.inf, 1.0]})
    assert json.loads((tmp_path / "s.json").read_text()) == {"loss": None, "norms": [None, 1.0]}


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    write_json(path, {"old": 1})
    with pytest.raises(TypeError):
        write_json(path, {"new": object()})
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["s.json"]


def test_a_file_that_cannot_be_replaced_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "s.json").mkdir()
    with pytest.raises(OSError):  # noqa: PT011  which one depends on the platform
        write_json(tmp_path / "s.json", {})
    assert [p.name for p in tmp_path.iterdir()] == ["s.json"]


def test_a_file_may_be_its_owners_alone_and_stays_that(tmp_path: Path) -> None:
    for text in ("old", "new"):
        write_whole(tmp_path / "s", text, mode=0o600)
    assert (tmp_path / "s").read_text() == "new"
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
