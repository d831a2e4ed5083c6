"""1F1B (Narayanan et al., PipeDream, 2019; synchronous as in DAPPLE, Fan et al. 2021).

    stage 0   F0 F1 F2       B0 F3 B1    B2 W1 W2 B3 W3
    stage 1      F0 F1    B0 F2 B1 F3 B2    B3 W1 W2 W3
    stage 2         F0 B0 F1 B1 F2 B2 F3 B3 W1 W2 W3

A stage runs as many forwards ahead as there are stages behind it, then goes back and forth. It keeps the activations
of no more micro-batches than there are stages from it to the end of the model. Other than in those papers nobody waits
for weight gradients (pipelines/train/weight_gradients.py): they come last, and what they need stays until then.
"""

from __future__ import annotations

from pipelines.plan.list_scheduling import Rule, list_schedule
from pipelines.plan.pipeline import Pipeline, Schedule
from pipelines.plan.rules import forward_first, nominal, to_the_end, whole_micro_batches
from pipelines.plan.weight_parts import weights_last


def one_forward_one_backward(pipeline: Pipeline, num_micro_batches: int) -> Schedule:
    rule = Rule(forward_first, whole_micro_batches(pipeline, to_the_end(pipeline)))
    orders = list_schedule(pipeline, num_micro_batches, nominal(pipeline, backward=2.0), rule)
    return weights_last(orders, pipeline, num_micro_batches)
