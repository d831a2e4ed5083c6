"""Eager 1F1B (Zhuang et al. 2022, On Optimizing the Communication of Model Parallelism, section 4).

    stage 0   F0 F1 F2 B0 F3 B1    B2 W1 W2 B3 W3
    stage 1      F0 B0 F1 B1 F2 B2 F3 B3 W1 W2 W3

1F1B with twice as many forwards ahead: a stage never waits for a message that is on its way, nor for a backward that is
shorter than a forward, at the price of more activations.
"""

from __future__ import annotations

from pipelines.plan.list_scheduling import Rule, list_schedule
from pipelines.plan.pipeline import Pipeline, Schedule
from pipelines.plan.rules import forward_first, nominal, to_the_end, whole_micro_batches
from pipelines.plan.weight_parts import weights_last


def eager_one_forward_one_backward(pipeline: Pipeline, num_micro_batches: int) -> Schedule:
    rule = Rule(forward_first, whole_micro_batches(pipeline, [2 * n - 1 for n in to_the_end(pipeline)]))
    orders = list_schedule(pipeline, num_micro_batches, nominal(pipeline, backward=2.0), rule)
    return weights_last(orders, pipeline, num_micro_batches)
