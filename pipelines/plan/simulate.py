"""When does each action run, if nothing but the actions themselves takes time?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pipelines.plan.actions import Action
from pipelines.train.events import Event

Duration = Callable[[int, Action], float]
"""Seconds that stage `j` takes for an action."""


def simulate(schedule: Sequence[Sequence[Action]], duration: Duration) -> list[list[tuple[float, float]]]:
    """Start and end in seconds of every action of every stage, in the schedule's order.

    A forward waits for the same forward of the stage before, a backward for the same backward of the
    stage behind; an update waits for the weight gradients of all stages, since clipping needs the
    global norm. Messages take no time.

    Raises:
        ValueError: the schedule waits for itself.
    """
    times: list[list[tuple[float, float]]] = [[] for _ in schedule]
    ended: dict[tuple[int, Action], float] = {}
    progress = True
    while progress:
        progress = False
        for j, actions in enumerate(schedule):
            while len(times[j]) < len(actions):
                action = actions[len(times[j])]
                waits = [ended.get((k, wanted)) for k, wanted in _waits_for(j, action, schedule)]
                if any(wait is None for wait in waits):
                    break
                ready = [wait for wait in waits if wait is not None]
                start = max([times[j][-1][1] if times[j] else 0.0, *ready])
                end = start + duration(j, action)
                times[j].append((start, end))
                ended[j, action] = end
                progress = True
    for j, actions in enumerate(schedule):
        if len(times[j]) < len(actions):
            raise ValueError(f"stage {j} waits for ever before {actions[len(times[j])]}")
    return times


def step_time(schedule: Sequence[Sequence[Action]], duration: Duration) -> float:
    """Seconds from the first action's start to the last one's end."""
    return max(stage[-1][1] for stage in simulate(schedule, duration) if stage)


def ideal_seconds(schedule: Sequence[Sequence[Action]], measured: Sequence[Sequence[Event]]) -> float:
    """The step's time if its actions took what was `measured` of each stage, with nothing between them."""
    lasted = {
        (j, action): event.end - event.start
        for j, (actions, events) in enumerate(zip(schedule, measured, strict=True))
        for action, event in zip(actions, events, strict=True)
    }
    return step_time(schedule, lambda j, action: lasted[j, action])


def _waits_for(j: int, action: Action, schedule: Sequence[Sequence[Action]]) -> list[tuple[int, Action]]:
    num_stages = len(schedule)
    if action.kind == "forward" and j > 0:
        return [(j - 1, replace(action, chunk=j - 1))]
    if action.kind == "backward":
        return [
            (j + 1, replace(action, chunk=j + 1))
            if j < num_stages - 1
            else (j, Action("forward", action.micro_batch, j))
        ]
    if action.kind == "update":
        return [(k, [a for a in schedule[k] if a.kind == "weights"][-1]) for k in range(num_stages)]
    return []
