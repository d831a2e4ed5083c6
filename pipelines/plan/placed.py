"""A plan from `plan.place` alone: one device for each choice of devices, and nothing measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.errors import UserError
from pipelines.model.units import Units
from pipelines.plan.alternating import in_groups, runs
from pipelines.plan.plan import unit_costs
from pipelines.plan.roles import allowed, alternates

KINDS = ("cpu", "gpu")


def read_place(entries: Iterable[str]) -> dict[str, str]:
    """`plan.place` from words such as `attention=gpu`.

    Raises:
        UserError: one of them is none.
    """
    place = {}
    for entry in entries:
        role, _, device = entry.partition("=")
        if not role or device not in KINDS:
            raise UserError(f"{entry!r} does not say what must sit where: write ROLE=cpu or ROLE=gpu.")
        place[role] = device
    return place


def placed(units: Units, place: Mapping[str, str]) -> dict[str, Any]:
    """The settings `stages`, `cut`, `stage_of` and `devices` of PlanConfig that keep `place`.

    Units that may sit anywhere go with their neighbours.

    Raises:
        UserError: an unknown role or device, or a unit that two entries send to different places.
    """
    open_to = allowed(units, place, KINDS, KINDS)
    if alternates(open_to):
        found = in_groups(open_to, unit_costs(units, None), 1)
        assert found is not None, "one group is always possible"
        bounds, stage_of, choices = found
    else:
        rows = runs(open_to)
        bounds = [*(first for first, _, _ in rows), rows[-1][1]]
        stage_of, choices = list(range(len(rows))), [choice for _, _, choice in rows]
    return {
        "stages": len(choices),
        "cut": tuple(bounds[1:-1]),
        "stage_of": tuple(stage_of),
        "devices": tuple(KINDS[choice.index(True)] for choice in choices),
    }
