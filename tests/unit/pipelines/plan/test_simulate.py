import pytest

from pipelines.plan.actions import Action
from pipelines.plan.schedule import SCHEDULES, make_schedule
from pipelines.plan.simulate import ideal_seconds, simulate, step_time
from pipelines.train.events import Event

SECONDS = {"forward": 1.0, "backward": 2.0, "weights": 0.0, "update": 0.0}


def drawn(name: str, *, num_stages: int, num_micro_batches: int) -> list[str]:
    """One letter a second: F forward, B backward, `.` idle."""
    schedule = make_schedule(name, num_stages=num_stages, num_micro_batches=num_micro_batches)
    times = simulate(schedule, lambda _, action: SECONDS[action.kind])
    lines = []
    for actions, spans in zip(schedule, times, strict=True):
        line = ""
        for action, (start, end) in zip(actions, spans, strict=True):
            line = line.ljust(int(start), ".") + action.kind[0].upper() * int(end - start)
        lines.append(line)
    return lines


def test_1f1b_as_it_unfolds() -> None:
    assert drawn("1f1b", num_stages=2, num_micro_batches=3) == [
        "FF..BBFBB.BB",
        ".FBBFBBFBB..",
    ]


def test_the_bubble_of_1f1b_is_that_of_the_formula() -> None:
    for stages, micro_batches in [(2, 4), (4, 8), (8, 8)]:
        schedule = make_schedule("1f1b", num_stages=stages, num_micro_batches=micro_batches)
        assert step_time(schedule, lambda _, a: SECONDS[a.kind]) == 3 * (micro_batches + stages - 1)


@pytest.mark.parametrize("name", SCHEDULES)
def test_no_schedule_waits_for_itself(name: str) -> None:
    for stages in range(1, 6):
        for micro_batches in range(1, 9):
            schedule = make_schedule(name, num_stages=stages, num_micro_batches=micro_batches)
            assert step_time(schedule, lambda *_: 1.0) > 0


def test_a_schedule_that_waits_for_ever_is_found() -> None:
    late = [[Action("backward", 0)], [Action("forward", 0), Action("backward", 0)]]
    with pytest.raises(ValueError, match="stage 0 waits for ever before B0"):
        simulate(late, lambda *_: 1.0)


def test_an_update_waits_for_the_weight_gradients_of_all_stages() -> None:
    schedule = make_schedule("1f1b", num_stages=2, num_micro_batches=1)
    times = simulate(schedule, lambda j, action: 10.0 if (j, action.kind) == (1, "weights") else 1.0)
    assert [spans[-1][0] for spans in times] == [13.0, 13.0]


def test_the_ideal_step_replays_what_was_measured_without_the_waits() -> None:
    schedule = make_schedule("gpipe", num_stages=2, num_micro_batches=1)
    measured = [
        [Event("forward", 0, 10.0, 11.0), Event("backward", 0, 17.0, 19.0), Event("weights", 0, 20.0, 20.5)],
        [Event("forward", 0, 12.0, 14.0), Event("backward", 0, 14.5, 16.5), Event("weights", 0, 16.5, 17.0)],
    ]
    for events in measured:
        events.append(Event("update", None, 21.0, 22.0))
    # 1 + 2 forwards, 2 + 2 backwards, half a second of weights, 1 of update.
    assert ideal_seconds(schedule, measured) == 8.5
