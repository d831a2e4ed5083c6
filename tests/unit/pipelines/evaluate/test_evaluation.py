"""What an evaluation finds, and the page that shows it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pipelines.evaluate.calibration import calibrate
from pipelines.evaluate.evaluation import Answered, Evaluation, evaluate
from pipelines.evaluate.page import page
from pipelines.evaluate.show import lines
from pipelines.tasks import make_task

LABELS = ["no", "yes"]
HOSTILE = "<script>document.title='changed'</script>"


def answered(rows: int, wrong: int) -> Answered:
    """The last `wrong` rows are answered wrongly, each a little surer than the one before."""
    gold = [LABELS[i % 2] for i in range(rows)]
    sure = [0.6 + 0.3 * i / rows for i in range(rows)]
    says = [i % 2 if i < rows - wrong else 1 - i % 2 for i in range(rows)]
    answers = [np.array([p, 1 - p] if said == 0 else [1 - p, p]) for p, said in zip(sure, says, strict=True)]
    texts, lengths = [f"text {i} {HOSTILE}" for i in range(rows)], [5 + i for i in range(rows)]
    return Answered([1] * rows, texts, lengths, gold, answers)


def found(*, against: bool = False) -> Evaluation:
    other = ("old", answered(80, 40)) if against else None
    return evaluate(
        make_task("sequence-classification"), LABELS, answered(80, 8),
        model="new", data="folder", split="test", task_name="sequence-classification", against=other,
    )  # fmt: skip


def test_calibration_is_the_mean_distance_of_confidence_and_truth() -> None:
    calibration = calibrate([(0.95, True), (0.95, False), (0.55, True), (0.55, True)])
    assert calibration is not None
    assert calibration.ece == pytest.approx((0.45 + 0.45) / 2)
    assert [(one.count, one.right) for one in calibration.bins] == [(2, 1.0), (2, 0.5)]
    assert calibrate([]) is None


def test_scores_slices_and_the_worst_rows() -> None:
    evaluation = found()
    assert evaluation.overall.score == evaluation.report.score == 0.9
    lengths = [one.score.score for one in evaluation.slices if one.by == "length"]
    assert lengths == [1, 1, 1, pytest.approx(0.6, abs=0.01)]
    assert {one.name: one.score.rows for one in evaluation.slices if one.by == "true label"} == {"no": 40, "yes": 40}
    assert [one.row for one in evaluation.worst] == list(range(80, 72, -1))
    assert json.loads(json.dumps(evaluation.to_json()))["worst"][0]["said"] == "no (0.90)"


def test_another_model_is_compared_on_the_same_rows() -> None:
    comparison = found(against=True).comparison
    assert comparison is not None
    assert (comparison.ours, comparison.theirs) == (0.9, 0.5)
    assert comparison.p < 0.001
    assert "old: accuracy 0.5000; difference 0.4000" in lines(found(against=True))[-1]


def test_the_page_stands_alone_and_repeats_no_markup_of_the_data() -> None:
    html = page(found(against=True))
    assert HOSTILE not in html
    assert "&lt;script&gt;" in html
    assert not re.search(r"(src|href)=\"(?!data:)", html)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium here")
@pytest.mark.timeout(120)
def test_a_browser_shows_the_page(tmp_path: Path) -> None:
    path, shot = tmp_path / "page.html", tmp_path / "shot.png"
    path.write_text(page(found(against=True)), encoding="utf-8")
    browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    shown = subprocess.run(
        [*browser, f"--screenshot={shot}", "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=100
    )
    assert shown.returncode == 0, shown.stderr
    assert "<title>new on folder</title>" in shown.stdout
    assert shown.stdout.count("<img") == 4
    assert shown.stdout.count("<tr>") == 9
    if shot.exists():
        assert shot.stat().st_size > 10_000
