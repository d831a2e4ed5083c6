"""Texts are labelled by one actor and by two; the commands write what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.labelling import label_texts
from jobs.label import app as label
from jobs.select import app as select
from pipelines.config import DataConfig
from tests.tiny import write_classifier

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("ray_session")]

TEXTS = ["Ann left Oslo", "it rains", "Bob Lee met Carl there", "Rome", "in Lima it rains", "Rome"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_classifier(tmp_path / "model", ["no", "yes"])
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    return tmp_path


def test_any_number_of_actors_finds_the_same(folder: Path) -> None:
    data = DataConfig(train=str(folder / "texts.txt"))
    found = [label_texts(str(folder / "model"), data, tracking_uri=None, actors=n, gpus=False) for n in (1, 2)]
    assert found[0][0] == found[1][0] == TEXTS
    assert [one.row for one in found[0][1]] == [one.row for one in found[1][1]]
    assert [one.sure for one in found[0][1]] == pytest.approx([one.sure for one in found[1][1]], abs=1e-6)


def test_the_commands_write_rows_and_tell_counts_without_texts(folder: Path) -> None:
    (folder / "people.jsonl").write_text('{"text": "x", "label": "no"}')
    given = [str(folder / "model"), str(folder / "texts.txt")]
    done = CliRunner().invoke(
        label,
        [*given, str(folder / "out.jsonl"), "--at-least", "0", "--beside", str(folder / "people.jsonl"), "--json"],
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["texts"], told["chosen"], told["repeated"]) == (6, 5, 1)
    rows = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == ["x", *TEXTS[:5]]
    done = CliRunner().invoke(select, [*given, str(folder / "doubt.jsonl"), "--most", "2"])
    assert done.exit_code == 0, done.output
    assert "The 2 of 6 texts" in done.stdout
    assert "Oslo" not in done.stdout
    doubts = [json.loads(line)["doubt"] for line in (folder / "doubt.jsonl").read_text().splitlines()]
    assert doubts == sorted(doubts, reverse=True)


def test_a_file_that_is_not_there_is_exit_code_2(folder: Path) -> None:
    done = CliRunner().invoke(label, [str(folder / "model"), "missing.txt", str(folder / "out.jsonl")])
    assert done.exit_code == 2
    assert not (folder / "out.jsonl").exists()
