from __future__ import annotations

import pytest

from pipelines.plan.corrected import corrected
from tests.unit.pipelines.plan.measured_example import FAST, LARGE, SMALL


def test_what_ran_is_predicted_to_take_what_it_took() -> None:
    # Forwards take 8 and 15 ms, backwards 11 and 20, weight gradients 5 and 10.
    spent = {"forward": 0.046, "backward": 0.031, "weights": 0.030}
    small, large = corrected(FAST.times, [SMALL, LARGE], spent)
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
    small, _ = corrected(FAST.times, [SMALL] * 10, {"forward": 0.080, "backward": 0.110, "weights": 0.100})
    assert small.forward == pytest.approx(FAST.times[0].forward)
    assert small.weights == pytest.approx((0.0, 0.008, 0.002))
