"""In which order each stage acts: one file for each schedule. The executor knows none of them by name.

To add one: a file with a function from a Pipeline and a number of micro-batches to the forwards, backwards and weight
gradients of each stage, and its name in SCHEDULES. Every chunk takes the micro-batches in their order, both ways, and
its weight gradients in the parts that pipelines/plan/weight_parts.py says, because the order of a sum is part of the
result. The update is put behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial

from pipelines.errors import UserError
from pipelines.plan.actions import Action
from pipelines.plan.pipeline import Pipeline, Schedule
from pipelines.plan.schedules.eager import eager_one_forward_one_backward
from pipelines.plan.schedules.gpipe import gpipe
from pipelines.plan.schedules.interleaved import interleaved_one_forward_one_backward
from pipelines.plan.schedules.one_forward_one_backward import one_forward_one_backward
from pipelines.plan.schedules.synthesised import synthesised
from pipelines.plan.schedules.zero_bubble import zero_bubble

Make = Callable[[Pipeline, int], Schedule]
_FIXED: dict[str, Make] = {
    "gpipe": gpipe,
    "1f1b": one_forward_one_backward,
    "eager-1f1b": eager_one_forward_one_backward,
    "interleaved-1f1b": interleaved_one_forward_one_backward,
    "zero-bubble": zero_bubble,
}
SCHEDULES: dict[str, Make] = {**_FIXED, "synthesised": partial(synthesised, others=tuple(_FIXED.values()))}


def make_schedule(name: str, pipeline: Pipeline, num_micro_batches: int, *, rounds: int = 1) -> Schedule:
    """For each stage, its actions in one step.

    Args:
        rounds: how often the micro-batches run before the update, with the same order each time. Their numbers go on:
            of 4 micro-batches, 4 to 7 are 0 to 3 in the second round.

    Raises:
        UserError: an unknown name, or a memory limit that no schedule keeps.
    """
    if name not in SCHEDULES:
        raise UserError(f"There is no schedule {name!r} (plan.schedule); known: {', '.join(SCHEDULES)}.")
    return [list(actions) for actions in _made(name, pipeline, num_micro_batches, rounds)]


# A run asks for the same few again and again.
@lru_cache(maxsize=64)
def _made(name: str, pipeline: Pipeline, num_micro_batches: int, rounds: int) -> Schedule:
    once = SCHEDULES[name](pipeline, num_micro_batches)
    return [[*_repeated(actions, num_micro_batches, rounds), Action("update")] for actions in once]


def _repeated(actions: Sequence[Action], num_micro_batches: int, rounds: int) -> Iterator[Action]:
    for number in range(rounds):
        for action in actions:
            assert action.micro_batch is not None
            yield replace(action, micro_batch=number * num_micro_batches + action.micro_batch)
