"""GPipe (Huang et al. 2019): every forward, then every backward, chunk by chunk, then the weight gradients.

    stage 0   F0 F1 F2 F3          B0 B1 B2    W2 B3 W3
    stage 1      F0 F1 F2 F3    B0 B1 B2 B3 W2 W3
    stage 2         F0 F1 F2 F3 B0 B1 B2 B3 W2 W3

A stage keeps the activations of all micro-batches.
"""

from __future__ import annotations

from pipelines.plan.actions import Action
from pipelines.plan.pipeline import Pipeline, Schedule
from pipelines.plan.weight_parts import weights_last


def gpipe(pipeline: Pipeline, num_micro_batches: int) -> Schedule:
    orders = [
        [Action("forward", i, c) for c in chunks for i in range(num_micro_batches)]
        + [Action("backward", i, c) for c in reversed(chunks) for i in range(num_micro_batches)]
        for chunks in pipeline.chunks
    ]
    return weights_last(orders, pipeline, num_micro_batches)
