"""Steps of a seating, put together from measured unit times; in numbers that can be added in the head."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import pytest

from pipelines.plan.measured import Measured, Shape
from pipelines.plan.predict import Predictor, Seating, largest_shape, mean_shape
from pipelines.plan.simulate import fits
from tests.unit.pipelines.plan.measured_example import FAST, LARGE, MEASURED, SLOW, SMALL, times

PAIR = Seating((0, 2, 3), (0, 1), ("fast", "slow"), ("a", "b"))


def test_one_stage_takes_its_units_and_a_pass_for_every_micro_batch() -> None:
    predictor = Predictor(MEASURED, Seating((0, 3), (0,), ("fast",), ("a",)), SMALL)
    # Forward 1 + 7, backward 2 + 9, weights 5, update 4 ms; LARGE takes twice as long but for the passes.
    assert predictor.step("1f1b", [SMALL] * 3).seconds == pytest.approx(3 * 0.024 + 0.004)
    assert predictor.step("1f1b", [SMALL, LARGE]).seconds == pytest.approx(0.024 + 0.003 + 2 * 0.021 + 0.004)


def test_a_second_round_takes_as_long_as_the_first_and_the_update_comes_once() -> None:
    alone = Seating((0, 3), (0,), ("fast",), ("a",))
    one, two = (Predictor(MEASURED, alone, SMALL, rounds=n).step("1f1b", [SMALL, LARGE]).seconds for n in (1, 2))
    assert two == pytest.approx(2 * one - 0.004)


def test_a_message_takes_its_latency_and_its_bytes() -> None:
    step = Predictor(MEASURED, PAIR, SMALL).step("gpipe", [SMALL])
    # The first stage's forward takes 1 + 5 ms; then 1024 bytes at 1e8 a second, and a millisecond.
    assert step.times[1][0][0] == pytest.approx(0.006 + 1024 / 1e8 + 0.001)


def test_slices_of_one_node_slow_each_other() -> None:
    def seconds(*nodes: str) -> float:
        seating = Seating((0, 2, 3), (0, 1), ("slow", "slow"), nodes)
        return Predictor(MEASURED, seating, SMALL).step("gpipe", [SMALL] * 8).seconds

    assert seconds("a", "a") > 1.2 * seconds("a", "b")


def varied(measured: Measured) -> Measured:
    return replace(measured, types=tuple(replace(kind, varies=0.2) for kind in measured.types))


def test_stages_wait_for_each_other_where_times_vary() -> None:
    # As slow as it takes for the head to need about as long there as the other units do on the fast device.
    even = replace(MEASURED, types=(FAST, replace(FAST, name="slow", times=(times(SMALL, 2.2),))))

    def cost(seating: Seating) -> float:
        own, other = Predictor(even, seating, SMALL), Predictor(varied(even), seating, SMALL)
        steps = [[SMALL] * n for n in range(4, 24)]
        return fmean(other.step("1f1b", step).seconds / own.step("1f1b", step).seconds for step in steps)

    # One stage alone waits for nobody, and takes the mean.
    assert cost(Seating((0, 3), (0,), ("fast",), ("a",))) == pytest.approx(1, abs=0.02)
    assert 1.02 < cost(PAIR) < 1.12


def test_a_step_is_always_predicted_to_take_the_same() -> None:
    one, two = (Predictor(varied(MEASURED), PAIR, SMALL).step("1f1b", [SMALL, LARGE]).seconds for _ in range(2))
    assert one == two != Predictor(MEASURED, PAIR, SMALL).step("1f1b", [SMALL, LARGE]).seconds


def test_room_is_for_the_largest_micro_batch() -> None:
    room = replace(MEASURED, types=(FAST, replace(SLOW, memory=sum(MEASURED.held) + 3 * 6100)))

    def enough(largest: Shape) -> bool:
        predictor = Predictor(room, Seating((0, 3), (0,), ("slow",), ("a",)), SMALL, largest)
        return fits(predictor.step("gpipe", [SMALL] * 3), predictor.pipeline)

    # Of the slow type one shape was measured: bytes go by sub-words.
    assert enough(SMALL)
    assert not enough(LARGE)


def test_a_schedule_is_the_same_for_all_steps_of_as_many_micro_batches() -> None:
    predictor = Predictor(MEASURED, PAIR, SMALL)
    one, two = (predictor.step("synthesised", shapes) for shapes in ([SMALL] * 4, [LARGE, SMALL, SMALL, LARGE]))
    assert [len(spans) for spans in one.times] == [len(actions) for actions in predictor.actions("synthesised", 4)]
    assert one.seconds < two.seconds


def test_the_mean_of_shapes_has_their_mean_of_sub_words() -> None:
    assert mean_shape([Shape(4, 8), Shape(8, 8)]) == Shape(6, 8)
    assert largest_shape([Shape(4, 8), Shape(2, 16), Shape(1, 31)]) == Shape(2, 16)
