"""ZB-H1 (Qi et al. 2023, Zero Bubble Pipeline Parallelism, section 2): weight gradients fill the gaps of 1F1B.

    stage 0   F0 F1 F2 F3          B0 F4 B1 F5 B2 F6 B3 F7 B4 W1 B5 W3 B6 W5 B7 W6 W7
    stage 1      F0 F1 F2       B0 F3 B1 F4 B2 F5 B3 F6 B4 F7 B5    B6 W1 B7 W3 W5 W6 W7
    stage 2         F0 F1    B0 F2 B1 F3 B2 F4 B3 F5 B4 F6 B5 F7 B6    B7 W1 W3 W5 W6 W7
    stage 3            F0 B0 F1 B1 F2 B2 F3 B3 F4 B4 F5 B5 F6 B6 F7 B7 W1 W3 W5 W6 W7

Forwards go as far ahead as in 1F1B and no further, so a stage never holds more than with that. Where forward, backward
and weight gradients take the same time, p stages wait (p - 1) forwards, a third of what 1F1B waits where it computes
weight gradients in its backwards.

ZB-H2 of that paper, which runs twice as far ahead, ends its wait by an update of each stage before the global norm is
known, and takes it back where the norm tells otherwise (post-validation, section 4). That is not done here: a stage
would have to be able to undo its update, to win the (p - 1) forwards. `synthesised` runs further ahead where there is
memory.
"""

from __future__ import annotations

from pipelines.plan.list_scheduling import Rule, list_schedule
from pipelines.plan.pipeline import Pipeline, Schedule
from pipelines.plan.rules import backward_first, nominal, to_the_end, whole_micro_batches
from pipelines.plan.weight_parts import weight_parts


def zero_bubble(pipeline: Pipeline, num_micro_batches: int) -> Schedule:
    rule = Rule(backward_first, whole_micro_batches(pipeline, to_the_end(pipeline)))
    # With several chunks a stage often has the choice; equal times would hide that a backward is on its way to others.
    several = len(pipeline.stage_of) > pipeline.num_stages
    costs = nominal(pipeline, backward=1.2 if several else 1.0)
    return list_schedule(pipeline, num_micro_batches, costs, rule, weight_parts(num_micro_batches))
