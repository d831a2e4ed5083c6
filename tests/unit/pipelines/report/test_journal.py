"""The journal: what is there after a crash, and what counts of a step that was done twice."""

from __future__ import annotations

from pathlib import Path

from pipelines.report.journal import NAME, Follower, Journal, read_journal, rows_by_epoch, seconds_of_steps


def test_of_a_step_that_is_there_twice_the_last_line_counts_and_half_a_line_does_not(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    first.write("began", first_step=0, num_steps=3)
    first.write("step", step=1, epoch=1, rows=[2, 0])
    first.write("step", step=2, epoch=1, rows=[9])
    first.close()
    # Killed while it wrote, and gone on with from step 1.
    with (tmp_path / NAME).open("a", encoding="utf-8") as file:
        file.write('{"at": 1.0, "what": "st')
    then = Journal(tmp_path)
    then.write("step", step=2, epoch=1, rows=[1])
    then.write("step", step=3, epoch=2, rows=[0, 1, 2])
    then.close()
    assert [line["what"] for line in read_journal(tmp_path)] == ["began", "step", "step", "step", "step"]
    assert rows_by_epoch(tmp_path) == {1: [2, 0, 1], 2: [0, 1, 2]}


def test_whoever_follows_sees_whole_lines_as_they_come(tmp_path: Path) -> None:
    follower = Follower(tmp_path)
    assert follower.step() == 0
    journal = Journal(tmp_path)
    journal.write("step", step=4, epoch=1, rows=[])
    assert follower.step() == 4
    journal.write("saved", checkpoint="step-4")
    assert follower.step() == 4
    with (tmp_path / NAME).open("a", encoding="utf-8") as file:
        file.write('{"what": "step", "step": 5')
    assert follower.step() == 4
    journal.close()
    assert seconds_of_steps(tmp_path) == 0.0
