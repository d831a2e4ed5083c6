"""What a person says must sit where: parts of a model by their role, or units by their names, on kinds of device.

plan.place: {encoder: gpu, decoder: cpu}            one boundary
plan.place: {attention: gpu, feed-forward: cpu}     the two halves of every block, so two stages with many chunks
plan.place: {embeddings: cpu, "*.layer.1?": gpu}    a role, and a pattern of unit names
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

from pipelines.errors import UserError
from pipelines.model.units import FIRST, LAST, Unit, Units


def _tower(word: str) -> Callable[[Unit], bool]:
    """Units in the tower that is called so; a decoder may well have something called encoder inside."""

    def inside(unit: Unit) -> bool:
        towers = [part for part in (unit.block or unit.name).split(".") if part.startswith(("encoder", "decoder"))]
        return bool(towers) and towers[0].startswith(word)

    return inside


def _half(units: Units, second: bool) -> list[int]:
    """The first or the second halves of the blocks that are divided."""
    found = []
    for n, unit in enumerate(units.all):
        if unit.block is not None and (n > 0 and units.all[n - 1].block == unit.block) == second:
            found.append(n)
    return found


ROLES: dict[str, Callable[[Units], list[int]]] = {
    "embeddings": lambda units: [n for n, unit in enumerate(units.all) if unit.name.startswith(FIRST)],
    "head": lambda units: [n for n, unit in enumerate(units.all) if unit.name.endswith(LAST)],
    "encoder": lambda units: [n for n, unit in enumerate(units.all) if _tower("encoder")(unit)],
    "decoder": lambda units: [n for n, unit in enumerate(units.all) if _tower("decoder")(unit)],
    # A block is divided behind the sum that ends its attention (pipelines/model/halves.py).
    "attention": lambda units: _half(units, second=False),
    "feed-forward": lambda units: _half(units, second=True),
}


def members(units: Units, role: str) -> list[int]:
    """The numbers of the units that a role, or a pattern of unit names, means.

    Raises:
        UserError: there are none.
    """
    if role in ROLES:
        found = ROLES[role](units)
    else:
        found = [n for n, unit in enumerate(units.all) if fnmatchcase(unit.name, role) or unit.block == role]
    if found:
        return found
    if role in {"attention", "feed-forward"} and units.undivided:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(units.undivided.items())[:2])
        raise UserError(f"plan.place names {role!r}, but no block of this model can be divided: {reasons}.")
    names = ", ".join(unit.name for unit in units.all)
    raise UserError(
        f"plan.place names {role!r}, which is neither a role of this model ({', '.join(ROLES)}) nor a pattern that any "
        f"of its units matches: {names}."
    )


def allowed(
    units: Units, place: Mapping[str, str], types: Sequence[str], kinds: Sequence[str]
) -> tuple[tuple[bool, ...], ...]:
    """By type of device, then by unit: whether the unit may sit there.

    Args:
        place: a kind of device, or the name of a type, by role or pattern.
        types: names of the types.
        kinds: of each, `cpu` or `gpu`.

    Raises:
        UserError: an unknown role or device, or a unit that two entries send to different places.
    """
    open_to = [[True] * len(units) for _ in types]
    for role, wanted in place.items():
        fits = [wanted in {name, kind} for name, kind in zip(types, kinds, strict=True)]
        if not any(fits):
            offered = ", ".join(f"{name} ({kind})" for name, kind in zip(types, kinds, strict=True))
            raise UserError(f"plan.place sends {role!r} to {wanted!r}, but the cluster offers: {offered}.")
        for n in members(units, role):
            for k, fit in enumerate(fits):
                open_to[k][n] &= fit
    for n, unit in enumerate(units.all):
        if not any(row[n] for row in open_to):
            raise UserError(f"plan.place sends {unit.name!r} to different devices at once: {dict(place)}.")
    return tuple(map(tuple, open_to))


def alternates(open_to: Sequence[Sequence[bool]]) -> bool:
    """Whether units with the same choice of devices lie apart, with others that may not sit there between them.

    Then one device holds several chunks: `alternates([[True, False, True], [False, True, False]])`.
    """
    runs: list[tuple[bool, ...]] = []
    for column in zip(*open_to, strict=True):
        if not all(column) and (not runs or runs[-1] != column):
            runs.append(column)
    return len(set(runs)) < len(runs)
