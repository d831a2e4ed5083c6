"""Make a schedule shorter by small changes."""

from __future__ import annotations

from pipelines.plan.actions import Action
from pipelines.plan.pipeline import Pipeline, Schedule
from pipelines.plan.simulate import Simulated, fits, simulate

REACH = 3
"""By how many places an action is moved at most."""


def improve(schedule: Schedule, pipeline: Pipeline, target: float, tries: int) -> tuple[Schedule, Simulated, int]:
    """Move one action at a time as long as that ends the step earlier within the memory limit.

    Only what lies on the critical path is moved, or moved past: the chain of actions, each beginning when the one
    before it ends, that reaches from the start to the end of the last weight gradients. Nothing else can shorten it
    (van Laarhoven et al. 1992, Job Shop Scheduling by Simulated Annealing). Micro-batches keep their order.

    Args:
        target: seconds that are good enough.
        tries: simulations at most.

    Returns:
        What it came to, its simulation, and how many simulations are left.
    """
    best = simulate(schedule, pipeline)
    while tries > 0 and best.seconds > target:
        for j, place, to in _moves(schedule, best, pipeline):
            moved = [list(actions) for actions in schedule]
            moved[j].insert(to, moved[j].pop(place))
            tries -= 1
            try:
                result = simulate(moved, pipeline)
            except ValueError:
                # It waits for itself.
                continue
            if result.seconds < best.seconds * (1 - 1e-9) and fits(result, pipeline):
                schedule, best = moved, result
                break
            if tries <= 0:
                break
        else:
            break
    return schedule, best, tries


def _moves(schedule: Schedule, result: Simulated, pipeline: Pipeline) -> list[tuple[int, int, int]]:
    """Stage, from which place, to which place."""
    moves = []
    for j, place in _critical_path(schedule, result, pipeline):
        actions = schedule[j]
        for to in range(place - 1, max(-1, place - 1 - REACH), -1):
            if not _may_change_places(actions[to], actions[place]):
                break
            moves.append((j, place, to))
        for to in range(place + 1, min(len(actions), place + 1 + REACH)):
            if not _may_change_places(actions[place], actions[to]):
                break
            moves.append((j, place, to))
    return moves


def _may_change_places(first: Action, second: Action) -> bool:
    """Whether `second` needs neither `first` nor comes behind it for the sake of the order of micro-batches."""
    if "update" in (first.kind, second.kind):
        return False
    if first.chunk != second.chunk:
        return True
    i, k = first.micro_batch, second.micro_batch
    assert i is not None
    assert k is not None
    if first.kind == second.kind:
        return False
    if second.kind == "weights":
        return first.kind == "forward" or i > k
    return not (first.kind == "forward" and second.kind == "backward" and i == k)


def _critical_path(schedule: Schedule, result: Simulated, pipeline: Pipeline) -> list[tuple[int, int]]:
    """Stage and place of its actions, the last one first."""
    places = {action: (j, n) for j, actions in enumerate(schedule) for n, action in enumerate(actions)}
    last = len(pipeline.stage_of) - 1
    weights = ((result.times[j][n][1], j, n) for action, (j, n) in places.items() if action.kind == "weights")
    _, j, n = max(weights)
    path = [(j, n)]
    while True:
        action, start = schedule[j][n], result.times[j][n][0]
        if n > 0 and result.times[j][n - 1][1] >= start - 1e-9 * result.seconds:
            j, n = j, n - 1
        elif action.kind == "forward" and action.chunk > 0:
            j, n = places[Action("forward", action.micro_batch, action.chunk - 1)]
        elif action.kind == "backward":
            before = Action("backward", action.micro_batch, action.chunk + 1)
            j, n = places[before if action.chunk < last else Action("forward", action.micro_batch, last)]
        else:
            return path
        path.append((j, n))
