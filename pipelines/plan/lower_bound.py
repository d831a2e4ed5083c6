"""A time that no schedule can beat."""

from __future__ import annotations

from pipelines.plan.pipeline import Pipeline
from pipelines.plan.weight_parts import weight_parts


def least_seconds(pipeline: Pipeline, num_micro_batches: int) -> float:
    """No step with one update after the global norm is shorter, however much memory there is.

    A stage cannot begin before the first micro-batch has come through all chunks before its own, then has all of its
    work to do, and the updates come when the last stage has done that:

        max over j of (way of micro-batch 0 to stage j + all of j's forwards, backwards and weights)  +  longest update

    And the last micro-batch, behind all others on chunk 0, has its way there and back. As there is one update at the
    end, not even unlimited memory ends the wait for the first micro-batch: where p equal stages take F, B and W for a
    micro-batch, 1F1B with B and W in one waits (p - 1) (F + B + W), and anything at least (p - 1) F.

    Raises:
        ValueError: the pipeline has no costs.
    """
    costs = pipeline.costs
    if costs is None:
        raise ValueError("nothing is known of how long these chunks take")
    num_chunks, m = len(pipeline.stage_of), num_micro_batches
    total = sum(costs.size(i) for i in range(m))
    crossed = [pipeline.stage_of[c] != pipeline.stage_of[c + 1] and bool(costs.latency) for c in range(num_chunks - 1)]

    def way_to(chunk: int, i: int) -> float:
        way = sum(costs.forward[:chunk]) * costs.size(i)
        return way + sum(costs.latency[c] + costs.activations[c] * costs.size(i) for c in range(chunk) if crossed[c])

    def way_back(i: int) -> float:
        return sum(costs.backward) * costs.size(i) + sum(
            costs.latency[c] + costs.gradients[c] * costs.size(i) for c in range(num_chunks - 1) if crossed[c]
        )

    stages = [
        way_to(chunks[0], 0) + total * sum(costs.forward[c] + costs.backward[c] + costs.weights[c] for c in chunks)
        for chunks in pipeline.chunks
    ]
    last = m - 1
    there = costs.forward[0] * (total - costs.size(last)) + way_to(num_chunks - 1, last)
    there += costs.forward[-1] * costs.size(last)
    part = range(([-1, *weight_parts(m)])[-2] + 1, m)
    back = way_back(last) + costs.weights[0] * sum(costs.size(i) for i in part)
    return max(*stages, there + back) + max(costs.update)
