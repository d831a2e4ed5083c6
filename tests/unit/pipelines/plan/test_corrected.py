from __future__ import annotations

import math

import pytest

from pipelines.plan.corrected import Rehearsed, corrected, variation
from tests.unit.pipelines.plan.measured_example import FAST, LARGE, SMALL


def test_what_ran_is_predicted_to_take_what_it_took() -> None:
    # Forwards take 8 and 15 ms, backwards 11 and 20, weight gradients 5 and 10.
    ran = [Rehearsed((SMALL, LARGE), (0.016, 0.030), (0.011, 0.020), (0.030,))]
    small, large = corrected(FAST.times, ran)
    assert (small.shape, large.shape) == (SMALL, LARGE)
    assert small.forward == pytest.approx((0.002, 0.008, 0.004))
    assert (small.stage_forward, large.stage_forward) == pytest.approx((0.002, 0.002))
    assert small.backward == pytest.approx(FAST.times[0].backward)
    assert small.weights == pytest.approx((0.0, 0.008, 0.002))
    assert (small.kept, small.noted, small.crossing) == (
        FAST.times[0].kept,
        FAST.times[0].noted,
        FAST.times[0].crossing,
    )


def test_as_many_micro_batches_as_ran_count() -> None:
    step = Rehearsed((SMALL,) * 5, (0.008,) * 5, (0.011,) * 5, (0.030, 0.020))
    small, _ = corrected(FAST.times, [step] * 2)
    assert small.forward == pytest.approx(FAST.times[0].forward)
    assert small.weights == pytest.approx((0.0, 0.008, 0.002))


def test_actions_vary_by_what_they_take_over_what_they_were_to_take_within_a_step() -> None:
    # Forwards are 10 % above and below, backwards as they were to be; the second step takes twice as long in all.
    one = Rehearsed((SMALL, LARGE), (0.0088, 0.0135), (0.011, 0.020), (0.015,))
    slow = Rehearsed((SMALL, LARGE), (0.0176, 0.0270), (0.022, 0.040), (0.030,))
    assert variation(FAST.times, [one]) == pytest.approx(math.sqrt(2 * 0.1**2 / 2))
    assert variation(FAST.times, [one, slow]) == pytest.approx(variation(FAST.times, [one]))


def test_of_single_micro_batches_nothing_is_known_to_vary() -> None:
    assert variation(FAST.times, [Rehearsed((SMALL,), (0.009,), (0.011,), (0.005,))] * 3) == 0
