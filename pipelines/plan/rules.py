"""What schedules that are made without measurements have in common."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.plan.actions import Action
from pipelines.plan.pipeline import Costs, Pipeline
from pipelines.plan.room import Room


def nominal(pipeline: Pipeline, *, backward: float) -> Costs:
    """All chunks alike: a forward and the weight gradients one second each; messages none."""
    ones = (1.0,) * len(pipeline.stage_of)
    return Costs(ones, tuple(backward * one for one in ones), ones, (0.0,) * pipeline.num_stages)


def forward_first(action: Action) -> tuple[float, ...]:
    """Forwards as long as there is room, of the chunk nearest to the end; then backwards, of that nearest to it."""
    return _urgency(action, ("forward", "backward", "weights"))


def backward_first(action: Action) -> tuple[float, ...]:
    """As `forward_first`, but a backward as soon as one can run."""
    return _urgency(action, ("backward", "forward", "weights"))


def _urgency(action: Action, kinds: tuple[str, str, str]) -> tuple[float, ...]:
    i = action.micro_batch or 0
    if action.kind == "weights":
        return (2, i, -action.chunk)
    return (kinds.index(action.kind), -action.chunk if action.kind == "forward" else action.chunk, i)


def to_the_end(pipeline: Pipeline) -> list[int]:
    """For each stage, how many stages there are from its first chunk to the end of the model."""
    return [len(set(pipeline.stage_of[chunks[0] :])) for chunks in pipeline.chunks]


def activations(pipeline: Pipeline, limit: Sequence[int]) -> Room:
    """Room for as many activations on each stage, each a micro-batch's of one chunk."""
    num_chunks = len(pipeline.stage_of)
    return Room((1.0,) * num_chunks, (0.0,) * num_chunks, limit)


def whole_micro_batches(pipeline: Pipeline, limit: Sequence[int]) -> Room:
    """Room for the activations of as many micro-batches on each stage, in all of its chunks."""
    return activations(pipeline, [n * len(chunks) for n, chunks in zip(limit, pipeline.chunks, strict=True)])
