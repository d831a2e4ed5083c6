"""Cuts for roles that alternate along the model, such as attention here and feed-forward there.

    2 groups of blocks, on two GPUs and two CPUs:

    stage 0 (gpu)   attention of blocks 0 and 1      stage 2 (gpu)   attention of blocks 2 and 3
    stage 1 (cpu)   feed-forward of the same         stage 3 (cpu)   feed-forward of the same

A device holds all its chunks of a group, so that a group needs one device for each choice of devices in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pipelines.plan.partition import cut_at


def runs(open_to: Sequence[Sequence[bool]]) -> list[tuple[int, int, tuple[bool, ...]]]:
    """First unit, the unit behind the last, and the choice of types, of units one behind the other that have the same.

    Units that may sit anywhere go with those before them, or at the model's beginning with those behind.

    Args:
        open_to: by type of device, then by unit: whether the unit may sit there.
    """
    columns = list(zip(*open_to, strict=True))
    free = [all(column) for column in columns]
    bound = next(n for n, anywhere in enumerate(free) if not anywhere)
    for n, anywhere in enumerate(free):
        if anywhere:
            columns[n] = columns[max(n - 1, 0)] if n > bound else columns[bound]
    starts = [n for n, column in enumerate(columns) if n == 0 or columns[n - 1] != column]
    return [(first, end, columns[first]) for first, end in pairwise([*starts, len(columns)])]


def in_groups(
    open_to: Sequence[Sequence[bool]], costs: Sequence[float], num_groups: int
) -> tuple[list[int], list[int], list[tuple[bool, ...]]] | None:
    """Bounds of the chunks, the stage of every chunk, and each stage's choice of types; None if there are too few runs.

    Args:
        open_to: as in `runs`.
        costs: of every unit; groups get about equal parts.
    """
    found = runs(open_to)
    weights = [sum(costs[first:end]) for first, end, _ in found]
    # A group begins where the choice of the very first run comes round again.
    places = [n for n, run in enumerate(found) if n and run[2] == found[0][2]]
    if num_groups > len(places) + 1:
        return None
    group_starts = set(cut_at(weights, places, num_groups))
    stage_of: list[int] = []
    choices: list[tuple[bool, ...]] = []
    here: dict[tuple[bool, ...], int] = {}
    for n, (_, _, choice) in enumerate(found):
        if n in group_starts:
            here = {}
        if choice not in here:
            here[choice] = len(choices)
            choices.append(choice)
        stage_of.append(here[choice])
    return [*(first for first, _, _ in found), found[-1][1]], stage_of, choices
