"""A schedule made for the measured costs: stages, chunks and micro-batches that are unequal, and a limit of memory.

List scheduling by several rules: backwards or forwards first; weight gradients in every gap, or only where the gap is
long enough; more or less room for activations. The best ones are improved by small moves (pipelines/plan/improve.py).
All schedules that are made without costs are tried as well, so this one is never slower than any of them that keeps the
limit, as far as the simulation with these costs knows. Of what takes the same time, it is what holds the least.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product

from pipelines.errors import UserError
from pipelines.plan.actions import Action
from pipelines.plan.improve import improve
from pipelines.plan.list_scheduling import Rule, list_schedule
from pipelines.plan.lower_bound import least_seconds
from pipelines.plan.pipeline import Memory, Pipeline, Schedule
from pipelines.plan.room import Room
from pipelines.plan.rules import backward_first, forward_first, nominal, to_the_end, whole_micro_batches
from pipelines.plan.simulate import Simulated, fits, peak_bytes, simulate
from pipelines.plan.weight_parts import weight_parts

EFFORT = 100_000
"""Actions that are simulated, in all tries together."""
IMPROVED = 4
"""How many of the best are improved."""
SAME = 1 + 1e-6
"""Times that differ by less are the same."""

Make = Callable[[Pipeline, int], Schedule]


def synthesised(pipeline: Pipeline, num_micro_batches: int, *, others: tuple[Make, ...]) -> Schedule:
    """
    Args:
        others: what it is to be no slower than.

    Raises:
        UserError: a stage has no room for one micro-batch at a time.
    """
    costs = pipeline.costs or nominal(pipeline, backward=1.0)
    num_chunks = len(pipeline.stage_of)
    # Where nothing is known of bytes: a backward leaves less than a forward.
    memory = pipeline.memory or Memory((3,) * num_chunks, (2,) * num_chunks)
    known = replace(pipeline, costs=costs, memory=memory)
    least = _least_bytes(known, num_micro_batches)
    target = (least_seconds(known, num_micro_batches) - max(costs.update)) * SAME
    tries = EFFORT // sum(map(len, others[0](pipeline, num_micro_batches)))
    found: list[tuple[Simulated, Schedule]] = []

    def consider(schedule: Schedule) -> None:
        result = simulate(schedule, known)
        if fits(result, known):
            found.append((result, schedule))

    for make in others:
        consider(make(pipeline, num_micro_batches))
    parts = weight_parts(num_micro_batches)
    for rule in _rules(known, num_micro_batches, least):
        if tries <= 0 and found:
            break
        tries -= 1
        consider(list_schedule(known, num_micro_batches, costs, rule, parts))
    found.sort(key=lambda pair: pair[0].seconds)
    for result, schedule in found[:IMPROVED]:
        if result.seconds > target:
            better, its_result, tries = improve(schedule, known, target, tries)
            found.append((its_result, better))
    shortest = min(result.seconds for result, _ in found)
    same = [pair for pair in found if pair[0].seconds <= shortest * SAME]
    return min(same, key=lambda pair: sum(pair[0].peak_bytes))[1]


def _rules(pipeline: Pipeline, num_micro_batches: int, least: Sequence[int]) -> Iterator[Rule]:
    """Those that are best most often go first."""
    for patience, room, urgency in product(
        (0.0, 0.3, 0.6), _rooms(pipeline, num_micro_batches, least), (backward_first, forward_first)
    ):
        yield Rule(urgency, room, patience)


def _rooms(pipeline: Pipeline, num_micro_batches: int, least: Sequence[int]) -> list[Room]:
    memory = pipeline.memory
    assert memory is not None
    most = [num_micro_batches * sum(max(memory.kept[c], memory.noted[c]) for c in own) for own in pipeline.chunks]
    if memory.limit is not None:
        most = [min(pair) for pair in zip(most, memory.limit, strict=True)]
    rooms = []
    for part in (1.0, 0.75, 0.5, 0.35, 0.25, 0.15):
        limit = [low + part * (high - low) for low, high in zip(least, most, strict=True)]
        rooms.append(Room(memory.kept, memory.noted, limit))
    # Of activations alone, as 1F1B counts them: weight gradients wait as long as they like.
    ahead = to_the_end(pipeline)
    return [*rooms, *(whole_micro_batches(pipeline, [int(n * times) for n in ahead]) for times in (2, 1.5, 1))]


def _least_bytes(pipeline: Pipeline, num_micro_batches: int) -> tuple[int, ...]:
    """What each stage holds when the step goes micro-batch by micro-batch.

    Raises:
        UserError: it is more than the limit.
    """
    parts = set(weight_parts(num_micro_batches))
    one_by_one: Schedule = [
        [
            action
            for i in range(num_micro_batches)
            for action in (
                *(Action("forward", i, c) for c in own),
                *(Action("backward", i, c) for c in reversed(own)),
                *(Action("weights", i, c) for c in own if i in parts),
            )
        ]
        for own in pipeline.chunks
    ]
    least = peak_bytes(one_by_one, pipeline.memory)
    limit = pipeline.memory.limit if pipeline.memory is not None else None
    for j, (need, most) in enumerate(zip(least, limit or least, strict=True)):
        if need > most:
            raise UserError(
                f"Stage {j} has {most:,} bytes for activations, but needs {need:,} with one micro-batch at a time. "
                "Make micro-batches smaller, give it fewer units, or set train.recompute."
            )
    return least
