from __future__ import annotations

import time

import pytest

from pipelines.plan.actions import Action
from pipelines.plan.pipeline import Costs, Memory, Nodes, Pipeline, Schedule
from pipelines.plan.schedules import make_schedule
from pipelines.plan.simulate import ideal_seconds, simulate
from pipelines.train.events import Event

SECONDS = {"forward": 1.0, "backward": 2.0, "weights": 0.0, "update": 0.0}


def one_each(num_stages: int) -> Pipeline:
    return Pipeline(tuple(range(num_stages)))


def drawn(schedule: Schedule, pipeline: Pipeline) -> list[str]:
    """One letter a second: F forward, B backward, W weight gradients, `.` idle."""
    times = simulate(schedule, pipeline, None if pipeline.costs else lambda _, action: SECONDS[action.kind]).times
    lines = []
    for actions, spans in zip(schedule, times, strict=True):
        line = ""
        for action, (start, end) in zip(actions, spans, strict=True):
            line = line.ljust(round(start), ".") + action.kind[0].upper() * round(end - start)
        lines.append(line)
    return lines


def test_1f1b_as_it_unfolds() -> None:
    assert drawn(make_schedule("1f1b", one_each(2), 3), one_each(2)) == [
        "FF..BBFBB.BB",
        ".FBBFBBFBB..",
    ]


def test_zero_bubble_as_it_unfolds() -> None:
    pipeline = Pipeline((0, 1, 2), Costs((1.0,) * 3, (1.0,) * 3, (1.0,) * 3, (0.0,) * 3))
    assert drawn(make_schedule("zero-bubble", pipeline, 6), pipeline) == [
        "FFF..BFBFBFBWWBWWBWW",
        ".FF.BFBFBFBFBWWBWWWW",
        "..FBFBFBFBFBFBWWWWWW",
    ]


def test_the_bubble_of_1f1b_is_that_of_the_formula() -> None:
    for stages, micro_batches in [(2, 4), (4, 8), (8, 8)]:
        pipeline = one_each(stages)
        result = simulate(make_schedule("1f1b", pipeline, micro_batches), pipeline, lambda _, a: SECONDS[a.kind])
        assert result.seconds == 3 * (micro_batches + stages - 1)
        assert result.bubble == pytest.approx((stages - 1) / (micro_batches + stages - 1))


def test_the_bubble_is_what_the_busiest_stage_waits() -> None:
    schedule = [
        [Action("forward", 0, 0), Action("backward", 0, 0)],
        [Action("forward", 0, 1), Action("backward", 0, 1)],
    ]
    result = simulate(schedule, one_each(2), lambda j, _: [1.0, 3.0][j])
    assert (result.seconds, result.bubble, result.idle) == (8.0, 0.25, (0.75, 0.25))


def test_a_schedule_that_waits_for_ever_is_found() -> None:
    late = [[Action("backward", 0)], [Action("forward", 0, 1), Action("backward", 0, 1)]]
    with pytest.raises(ValueError, match="stage 0 waits for ever before B0"):
        simulate(late, one_each(2), lambda *_: 1.0)


def test_an_update_waits_for_the_weight_gradients_of_all_stages() -> None:
    schedule = make_schedule("1f1b", one_each(2), 1)
    result = simulate(schedule, one_each(2), lambda j, a: 10.0 if (j, a.kind) == (1, "weights") else 1.0)
    assert [spans[-1][0] for spans in result.times] == [13.0, 13.0]


def test_the_ideal_step_replays_what_was_measured_without_the_waits() -> None:
    schedule = make_schedule("gpipe", one_each(2), 1)
    measured = [
        [Event("forward", 0, 10.0, 11.0), Event("backward", 0, 17.0, 19.0), Event("weights", 0, 20.0, 20.5)],
        [Event("forward", 0, 12.0, 14.0), Event("backward", 0, 14.5, 16.5), Event("weights", 0, 16.5, 17.0)],
    ]
    for events in measured:
        events.append(Event("update", None, 21.0, 22.0))
    # 1 + 2 forwards, 2 + 2 backwards, half a second of weights, 1 of update.
    assert ideal_seconds(schedule, measured) == 8.5


def test_the_ideal_step_knows_which_stage_holds_which_chunk() -> None:
    schedule = make_schedule("1f1b", Pipeline((0, 1, 0)), 1)
    measured = [[Event(a.kind, a.micro_batch, 5.0, 6.0, a.chunk) for a in actions] for actions in schedule]
    # 3 forwards, 3 backwards, the weight gradients of chunk 0, and the update: each a second.
    assert ideal_seconds(schedule, measured) == 8.0


MESSAGES = Costs((1.0, 1.0), (1.0, 1.0), (0.0, 0.0), (0.0, 0.0), latency=(0.5,), activations=(2.0,), gradients=(0.25,))


def test_messages_take_their_time_one_after_the_other_while_stages_go_on() -> None:
    pipeline = Pipeline((0, 1), MESSAGES)
    result = simulate(make_schedule("gpipe", pipeline, 2), pipeline)
    # The first is sent at 1 and has the link until 3, the second, sent at 2, until 5; half a second later it is there.
    assert [start for start, _ in result.times[1]][:2] == [3.5, 5.5]
    # Backwards end at 7.5 and 8.5, and take 0.75 seconds to come back.
    assert [start for start, _ in result.times[0]][2:4] == [8.25, 9.25]


def test_chunks_of_one_stage_send_each_other_nothing() -> None:
    pipeline = Pipeline((0, 0), MESSAGES)
    assert simulate(make_schedule("gpipe", pipeline, 2), pipeline).seconds == 8.0


def test_larger_micro_batches_take_longer() -> None:
    costs = Costs((1.0,), (2.0,), (1.0,), (0.5,), sizes=(1.0, 3.0))
    pipeline = Pipeline((0,), costs)
    assert simulate(make_schedule("1f1b", pipeline, 2), pipeline).seconds == 4 * (1.0 + 2.0 + 1.0) + 0.5


def test_stages_of_a_node_slow_each_other_while_both_work() -> None:
    schedule: Schedule = [[Action("weights", 0, 0)], [Action("weights", 0, 1), Action("weights", 1, 1)]]
    pipeline = Pipeline((0, 1), nodes=Nodes((0, 0), ((1.0, 0.5),)))
    result = simulate(schedule, pipeline, lambda *_: 1.0)
    # At half the speed until 2, where stage 0 is through; alone from then on.
    assert result.times == [[(0.0, 2.0)], [(0.0, 2.0), (2.0, 3.0)]]
    apart = Pipeline((0, 1), nodes=Nodes((0, 1), ((1.0, 0.5), (1.0,))))
    assert simulate(schedule, apart, lambda *_: 1.0).seconds == 2.0


def test_more_stages_than_rates_share_what_the_node_can_do() -> None:
    schedule: Schedule = [[Action("weights", 0, j)] for j in range(4)]
    pipeline = Pipeline((0, 1, 2, 3), nodes=Nodes((0,) * 4, ((1.0, 1.0),)))
    assert simulate(schedule, pipeline, lambda *_: 1.0).seconds == 2.0


def test_memory_is_counted_from_forward_to_backward_and_on_to_the_weight_gradients() -> None:
    memory = Memory(kept=(10, 10), noted=(3, 3))
    pipeline = Pipeline((0, 1), memory=memory)
    results = {
        name: simulate(make_schedule(name, pipeline, 4), pipeline, lambda *_: 1.0).peak_bytes
        for name in ("gpipe", "1f1b")
    }
    # gpipe keeps four; 1f1b two and one, and behind two backwards what they noted besides.
    assert results == {"gpipe": (40, 40), "1f1b": (26, 19)}


def test_64_stages_and_256_micro_batches_are_simulated_in_seconds() -> None:
    schedule = make_schedule("1f1b", one_each(64), 256)
    begin = time.perf_counter()
    simulate(schedule, one_each(64), lambda _, a: SECONDS[a.kind])
    assert time.perf_counter() - begin < 5
