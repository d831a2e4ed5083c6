"""Interleaved 1F1B (Narayanan et al. 2021, Efficient Large-Scale Language Model Training on GPU Clusters, section 2.2).

Two stages with chunks 0 and 2, and 1 and 3 (F0.2 is the forward of micro-batch 0 through chunk 2):

    stage 0   F0.0 F1.0 F0.2 F1.2 F2.0      B0.2 F3.0 B1.2 F2.2 B0.0 ...
    stage 1        F0.1 F1.1 F0.3 B0.3 F1.3 B1.3 F2.1 B0.1 F3.1 B1.1 ...

A stage takes as many micro-batches as there are stages through its first chunk, then the same ones through its second,
and so on. With v chunks a stage, the pipeline is full, and at the end empty, in a v-th of the time that 1F1B takes, and
stage k of p keeps the activations of up to 2 (p - 1 - k) + (v - 1) p + 1 chunks.

That is for chunks that go round and round over the stages and for micro-batches in multiples of p, as in the paper.
Elsewhere a stage runs forwards while it has room for activations, and of three rooms the one is taken that ends first:
that of 1F1B, that of the formula and one place more for each further chunk, and that of its stage 0 for all stages.
"""

from __future__ import annotations

from pipelines.plan.actions import Action
from pipelines.plan.list_scheduling import Rule, list_schedule
from pipelines.plan.pipeline import Pipeline, Schedule
from pipelines.plan.room import Room
from pipelines.plan.rules import activations, forward_first, nominal, to_the_end, whole_micro_batches
from pipelines.plan.simulate import simulate
from pipelines.plan.weight_parts import weights_last


def interleaved_one_forward_one_backward(pipeline: Pipeline, num_micro_batches: int) -> Schedule:
    p, costs = pipeline.num_stages, nominal(pipeline, backward=2.0)
    v = len(pipeline.chunks[0])
    if v > 1 and pipeline.stage_of == tuple(range(p)) * v and num_micro_batches % p == 0:
        return weights_last(_in_rounds(pipeline, num_micro_batches), pipeline, num_micro_batches)
    orders = [list_schedule(pipeline, num_micro_batches, costs, Rule(forward_first, room)) for room in _rooms(pipeline)]
    in_order = Pipeline(pipeline.stage_of, costs)
    return weights_last(min(orders, key=lambda o: simulate(o, in_order).seconds), pipeline, num_micro_batches)


def _ahead(pipeline: Pipeline) -> list[int]:
    """How many forwards each stage runs before its first backward."""
    p = pipeline.num_stages
    ranks = sorted(range(p), key=lambda j: pipeline.chunks[j])
    return [2 * (p - 1 - ranks.index(j)) + (len(chunks) - 1) * p for j, chunks in enumerate(pipeline.chunks)]


def _in_rounds(pipeline: Pipeline, num_micro_batches: int) -> Schedule:
    p = pipeline.num_stages
    schedule = []
    for chunks, ahead in zip(pipeline.chunks, _ahead(pipeline), strict=True):
        rounds = [range(first, first + p) for first in range(0, num_micro_batches, p)]
        forwards = [Action("forward", i, c) for these in rounds for c in chunks for i in these]
        backwards = [Action("backward", i, c) for these in rounds for c in reversed(chunks) for i in these]
        ahead = min(ahead, len(forwards))
        paired = zip(forwards[ahead:], backwards, strict=False)
        behind = backwards[len(forwards) - ahead :]
        schedule.append([*forwards[:ahead], *(action for pair in paired for action in pair), *behind])
    return schedule


def _rooms(pipeline: Pipeline) -> list[Room]:
    as_1f1b = whole_micro_batches(pipeline, to_the_end(pipeline))
    if len(pipeline.stage_of) == pipeline.num_stages:
        return [as_1f1b]
    formula = [n + len(chunks) for n, chunks in zip(_ahead(pipeline), pipeline.chunks, strict=True)]
    return [as_1f1b, activations(pipeline, formula), activations(pipeline, [max(formula)] * len(formula))]
