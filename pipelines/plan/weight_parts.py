"""In which parts weight gradients are computed: the order of a sum is part of the result."""

from __future__ import annotations

from pipelines.plan.actions import Action
from pipelines.plan.pipeline import Pipeline, Schedule


def weight_parts(num_micro_batches: int) -> tuple[int, ...]:
    """The last micro-batch of each part. Of the number of micro-batches alone: the same in every schedule and cut.

    The last two parts are of one micro-batch, those before of two, or of four where there are at least 32:
    `weight_parts(8) == (1, 3, 5, 6, 7)`.

    A part is one product, and adds once to every weight gradient, which takes as long as about thirty more tokens
    would: large parts save that. Small ones fill the gaps of a schedule; with these a step ends nearly as early as if
    every micro-batch had a part of its own (docs/benchmarks.md).
    """
    size = 2 if num_micro_batches < 32 else 4
    last = num_micro_batches - 1
    return tuple(end for end in (*reversed(range(last - 2, -1, -size)), last - 1, last) if end >= 0)


def weights_last(orders: Schedule, pipeline: Pipeline, num_micro_batches: int) -> Schedule:
    """Put the weight gradients behind the forwards and backwards of each stage.

    Nobody waits for a step's last backward, of the first chunk. Where its stage waits for others before that, all
    weight gradients but the last go before it.
    """
    ends = weight_parts(num_micro_batches)
    schedule = []
    for j, (order, chunks) in enumerate(zip(orders, pipeline.chunks, strict=True)):
        # Backwards end with the first chunk.
        parts = [Action("weights", end, c) for c in reversed(chunks) for end in ends]
        if j == pipeline.stage_of[0] and pipeline.num_stages > 1:
            schedule.append([*order[:-1], *parts[:-1], order[-1], parts[-1]])
        else:
            schedule.append([*order, *parts])
    return schedule
