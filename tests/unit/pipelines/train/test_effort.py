from __future__ import annotations

import time

import pytest

from pipelines.model.examples import example_batches
from pipelines.plan.measured import Shape
from pipelines.train.effort import Effort
from tests.unit.pipelines.one_process import CPU
from tests.unit.pipelines.train.test_measure import bert, subject

SHAPES = [Shape(4, 16), Shape(2, 8), Shape(4, 16)]


@pytest.mark.parametrize("memory", [2**30, 1])
def test_work_is_counted_and_nothing_is_left_of_it(memory: int) -> None:
    example = example_batches(bert(), "token-classification", count=1)[0]
    effort = Effort(subject(bert()), CPU, example, SHAPES, memory=memory)
    assert effort.seconds > 0
    assert effort.rate(time.time(), 0.1) > 0
    # What began in time is finished behind it.
    assert effort._stage.noted() == []
