import io

import pytest
from rich.console import Console

from pipelines.report.progress import Progress


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def plain(stream: io.StringIO) -> Console:
    return Console(file=stream, width=40)


def terminal(stream: io.StringIO, width: int = 120) -> Console:
    return Console(file=stream, force_terminal=True, color_system=None, width=width)


def test_without_a_terminal_a_line_comes_first_last_and_every_two_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress(10, 2, console=plain(stream), clock=clock) as progress:
        for step in range(1, 11):
            clock.now += 0.5
            progress.step(step, epoch=1, loss=1 / step, tokens_per_second=8123.4, busy=[0.5, 1.0])
    assert stream.getvalue().splitlines() == [
        "step 1/10  epoch 1  loss 1.0000  8,123 tokens/s  busy 50% 100%  left ?",
        "step 5/10  epoch 1  loss 0.2000  8,123 tokens/s  busy 50% 100%  left 0:02",
        "step 9/10  epoch 1  loss 0.1111  8,123 tokens/s  busy 50% 100%  left 0:00",
        "step 10/10  epoch 1  loss 0.1000  8,123 tokens/s  busy 50% 100%  left 0:00",
    ]


def test_time_left_leaves_out_the_first_step_and_the_steps_before_a_resumed_run() -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress(1000, 1, start_step=500, console=plain(stream), clock=clock) as progress:
        clock.now = 60.0  # The first step warms up.
        progress.step(501, epoch=1, loss=1.0, tokens_per_second=1.0, busy=[1.0])
        clock.now = 80.0
        progress.step(511, epoch=1, loss=1.0, tokens_per_second=1.0, busy=[1.0])
    assert stream.getvalue().splitlines()[-1].endswith("left 16:18")


def test_a_note_is_printed_as_it_is() -> None:
    stream = io.StringIO()
    with Progress(1, 1, console=plain(stream)) as progress:
        progress.note("[bold] stays, and so does a line that is longer than the console is wide")
    assert stream.getvalue() == "[bold] stays, and so does a line that is longer than the console is wide\n"


def test_a_file_gets_no_control_characters_even_where_colours_are_forced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Progress(1, 1) as progress:
        progress.note("note")
        progress.step(1, epoch=1, loss=1.0, tokens_per_second=1.0, busy=[1.0])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "note\nstep 1/1  epoch 1  loss 1.0000  1 tokens/s  busy 100%  left 0:00\n"


def test_a_terminal_shows_the_newest_step_and_every_stages_share() -> None:
    stream = io.StringIO()
    with Progress(10, 2, console=terminal(stream)) as progress:
        for step in range(1, 4):
            progress.step(step, epoch=2, loss=0.25, tokens_per_second=8123.4, busy=[0.5, 1.0])
        progress.note("epoch 1: F1 0.9")
    shown = stream.getvalue()
    assert "epoch 1: F1 0.9\n" in shown
    newest = shown[shown.rindex("step 3/10") :]
    assert "epoch 2  loss 0.2500  8,123 tokens/s" in newest
    assert "stage 0 ████      50%" in newest
    assert "stage 1 ████████ 100%" in newest


def test_before_the_first_step_a_terminal_says_what_it_waits_for() -> None:
    stream = io.StringIO()
    with Progress(10, 1, start_step=4, console=terminal(stream)):
        pass
    assert "step 4/10  waiting for the first step  elapsed 0:00" in stream.getvalue()


def test_many_stages_wrap_within_a_narrow_terminal() -> None:
    stream = io.StringIO()
    console = terminal(stream, width=70)
    progress = Progress(10, 12, console=console)
    progress.step(1, epoch=1, loss=1.0, tokens_per_second=1.0, busy=[0.5] * 12)
    console.print(progress)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 70
    assert sum(line.count("stage ") for line in lines) == 12


def test_a_share_for_each_stage_is_needed() -> None:
    with pytest.raises(ValueError, match="2 stages but 1 busy shares"):
        Progress(10, 2, console=plain(io.StringIO())).step(1, epoch=1, loss=1.0, tokens_per_second=1.0, busy=[1.0])
