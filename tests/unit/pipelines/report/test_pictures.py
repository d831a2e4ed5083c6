import math
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.report.pictures import (
    confusion_figure,
    confusion_matrix,
    loss_curve,
    loss_figure,
    timeline,
    timeline_figure,
)
from pipelines.train.events import Event, StageReport

ROOT = Path(__file__).parents[4]


def png_size(path: Path) -> tuple[int, int]:
    """Width and height, from the header that every PNG begins with."""
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", head[16:24])


def report(stage: int, step: int = 7) -> StageReport:
    """A stage that computes from 0 to 40 ms and from 60 to 80 ms."""
    begin = 1_700_000_000.0
    events = (
        Event("forward", 0, begin, begin + 0.01),
        Event("backward", 0, begin + 0.01, begin + 0.04),
        Event("update", None, begin + 0.06, begin + 0.08),
    )
    return StageReport(stage, step, events, loss=None, grad_norm=1.0, bytes_sent=0)


def test_every_stage_has_a_lane_with_its_share_first_stage_on_top() -> None:
    (axes,) = timeline_figure([report(1), report(0)]).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["stage 0  75%", "stage 1  75%"]
    bottom, top = axes.get_ylim()
    assert bottom > top


def test_bars_are_actions_in_ms_since_the_steps_beginning() -> None:
    (axes,) = timeline_figure([report(0)]).axes
    bars = [container.patches[0] for container in axes.containers]
    assert [(round(bar.get_x()), round(bar.get_width())) for bar in bars] == [(0, 10), (10, 30), (60, 20)]
    assert [text.get_text() for text in axes.texts] == ["0", "0"]


def test_the_title_tells_the_steps_length_and_busy_shares() -> None:
    (axes,) = timeline_figure([report(0), report(1)]).axes
    assert axes.get_title(loc="left") == "Step 7: 80 ms, busy 75% / 75%"


def test_more_than_eight_busy_shares_become_a_range_in_the_title() -> None:
    (axes,) = timeline_figure([report(stage) for stage in range(9)]).axes
    assert axes.get_title(loc="left") == "Step 7: 80 ms, busy 75% to 75%"


def test_more_stages_make_a_taller_timeline(tmp_path: Path) -> None:
    timeline(tmp_path / "2.png", [report(stage) for stage in range(2)])
    timeline(tmp_path / "12.png", [report(stage) for stage in range(12)])
    assert png_size(tmp_path / "2.png")[1] < png_size(tmp_path / "12.png")[1]


def test_a_timeline_is_of_one_step() -> None:
    with pytest.raises(ValueError, match="of the steps 7, 8"):
        timeline_figure([report(0, step=7), report(1, step=8)])
    with pytest.raises(ValueError, match="at least one"):
        timeline_figure([])


def test_a_stage_that_did_nothing_has_an_empty_lane() -> None:
    (axes,) = timeline_figure([StageReport(0, 1, (), loss=None, grad_norm=0.0, bytes_sent=0)]).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["stage 0  0%"]


def test_confusions_are_coloured_by_their_share_of_the_row_and_zeros_stay_blank() -> None:
    axes = confusion_figure(["LOC", "PER", "O"], [[3, 1, 0], [0, 0, 0], [0, 0, 12_345]]).axes[0]
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    assert [text.get_text() for text in axes.texts] == ["3", "1", "12k"]


def test_a_confusion_matrix_grows_with_its_names(tmp_path: Path) -> None:
    for size in (2, 16):
        matrix = [[100 if x == y else 1 for x in range(size)] for y in range(size)]
        confusion_matrix(tmp_path / f"{size}.png", [f"type-{i}" for i in range(size)], matrix)
    small, large = png_size(tmp_path / "2.png"), png_size(tmp_path / "16.png")
    assert small[0] < large[0] < 2500
    assert small[1] < large[1] < 2500


def test_a_confusion_matrix_must_fit_its_names() -> None:
    with pytest.raises(ValueError, match="2 names need a matrix of 2 rows"):
        confusion_figure(["PER", "O"], [[1, 2], [3]])


def test_the_loss_curve_has_a_panel_for_dev_scores_only_if_there_are_any(tmp_path: Path) -> None:
    loss_curve(tmp_path / "new" / "without.png", [1, 2], [2.0, 1.0], [0.1, 0.2], {})
    loss_curve(tmp_path / "with.png", [1, 2], [2.0, 1.0], [0.1, 0.2], {2: 0.5})
    assert png_size(tmp_path / "new" / "without.png")[1] < png_size(tmp_path / "with.png")[1]


def test_a_long_loss_curve_is_smoothed_and_a_loss_that_is_not_a_number_does_not_spoil_it() -> None:
    losses = [1.0] * 50
    losses[25] = math.nan
    raw, smooth = loss_figure(range(50), losses, [0.1] * 50, {}).axes[0].lines
    assert math.isnan(raw.get_ydata()[25])
    assert list(smooth.get_ydata()) == [1.0] * 50


def test_every_step_needs_its_loss_and_learning_rate() -> None:
    with pytest.raises(ValueError, match="2 steps, 1 losses, 2 learning rates"):
        loss_figure([1, 2], [1.0], [0.1, 0.1], {})


def test_pictures_choose_no_backend_for_the_process() -> None:
    # In a process of its own, because other tests' libraries may have.
    code = "import sys, pipelines.report.pictures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False).returncode == 0
