"""In which order each stage acts. Pure generators; the executor knows none of them by name.

1F1B with 3 stages and 4 micro-batches (F forward, B backward, Wi weight gradients up to i, U update):

    stage 0   F0 F1 F2       B0 F3 B1    B2 W2 B3 W3    U
    stage 1      F0 F1    B0 F2 B1 F3 B2    B3 W2 W3    U
    stage 2         F0 B0 F1 B1 F2 B2 F3 B3 W2 W3       U

Nobody waits for weight gradients (pipelines/train/weight_gradients.py), so stage 0, which would idle
before its last backward, computes there those that it can. They are added in two parts, all but the
last micro-batch and the last one, on every stage and in every schedule: the order of a sum is part of
the result.

To add one: a function here and its name in SCHEDULES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from pipelines.errors import UserError
from pipelines.plan.actions import Action


def one_forward_one_backward(j: int, num_stages: int, num_micro_batches: int) -> Iterator[Action]:
    """1F1B (Narayanan et al., PipeDream, 2019; synchronous as in DAPPLE, Fan et al. 2021).

    Stage `j` runs as many forwards ahead as there are stages behind it, then alternates.
    """
    yield from _alternate(min(num_stages - 1 - j, num_micro_batches), num_micro_batches)


def eager_one_forward_one_backward(j: int, num_stages: int, num_micro_batches: int) -> Iterator[Action]:
    """Eager 1F1B (Zhuang et al. 2022, On Optimizing the Communication of Model Parallelism, section 4).

    1F1B with twice as many forwards ahead: a stage never waits for a message that is on its way, nor for
    a backward that is shorter than a forward, at the price of more activations.
    """
    ahead = min(2 * (num_stages - 1 - j), num_micro_batches)
    yield from _alternate(ahead, num_micro_batches)


def all_forward_all_backward(j: int, num_stages: int, num_micro_batches: int) -> Iterator[Action]:  # noqa: ARG001
    """GPipe (Huang et al. 2019): every forward, then every backward."""
    for i in range(num_micro_batches):
        yield Action("forward", i)
    for i in range(num_micro_batches):
        yield Action("backward", i)


def _alternate(ahead: int, num_micro_batches: int) -> Iterator[Action]:
    for i in range(ahead):
        yield Action("forward", i)
    for i in range(num_micro_batches - ahead):
        yield Action("forward", ahead + i)
        yield Action("backward", i)
    for i in range(num_micro_batches - ahead, num_micro_batches):
        yield Action("backward", i)


Schedule = Callable[[int, int, int], Iterator[Action]]
SCHEDULES: dict[str, Schedule] = {
    "1f1b": one_forward_one_backward,
    "eager-1f1b": eager_one_forward_one_backward,
    "gpipe": all_forward_all_backward,
}


def make_schedule(name: str, *, num_stages: int, num_micro_batches: int) -> list[list[Action]]:
    """For each stage, its actions in one step, the weight gradients and the update at the end.

    Raises:
        UserError: an unknown name.
    """
    if name not in SCHEDULES:
        raise UserError(f"There is no schedule {name!r} (plan.schedule); known: {', '.join(SCHEDULES)}.")
    actions = SCHEDULES[name]
    listed = [
        _with_weights(list(actions(j, num_stages, num_micro_batches)), num_micro_batches, waits=j == 0 < num_stages - 1)
        for j in range(num_stages)
    ]
    return [[replace(action, chunk=j) for action in stage] for j, stage in enumerate(listed)]


def _with_weights(actions: list[Action], num_micro_batches: int, *, waits: bool) -> list[Action]:
    last = num_micro_batches - 1
    parts = [Action("weights", i) for i in (last - 1, last) if i >= 0]
    if waits and last > 0 and actions[-1] == Action("backward", last):
        return [*actions[:-1], parts[0], actions[-1], parts[1], Action("update")]
    return [*actions, *parts, Action("update")]
