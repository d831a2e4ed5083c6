"""Which stages hold which parameters, and who owns those that several hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from pipelines.model.units import Units


def stage_parameters(units: Units, bounds: Sequence[int], stage_of: Sequence[int], j: int) -> tuple[str, ...]:
    """Names of the parameters that the chunks of stage `j` need, each once, in a stable order.

    Args:
        bounds: the first unit of every chunk, and the number of units.
        stage_of: the stage of every chunk.
    """
    chunks = [units.parameters(*span) for span, stage in zip(pairwise(bounds), stage_of, strict=True) if stage == j]
    return tuple(dict.fromkeys(name for names in chunks for name in names))


def shared_parameters(units: Units, bounds: Sequence[int], stage_of: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """The parameters that several stages need, with these stages; the first of them owns and updates it.

    Args:
        bounds: the first unit of every chunk, and the number of units.
        stage_of: the stage of every chunk.
    """
    holders: dict[str, list[int]] = {}
    for (first, end), stage in zip(pairwise(bounds), stage_of, strict=True):
        for name in units.parameters(first, end):
            stages = holders.setdefault(name, [])
            if stage not in stages:
                stages.append(stage)
    return {name: tuple(stages) for name, stages in holders.items() if len(stages) > 1}


def borrowed_and_lent(
    shared: Mapping[str, tuple[int, ...]], j: int
) -> tuple[dict[int, tuple[str, ...]], dict[int, tuple[str, ...]]]:
    """What stage `j` borrows, by owner, and what it lends, by borrower."""
    borrowed: dict[int, tuple[str, ...]] = {}
    lent: dict[int, tuple[str, ...]] = {}
    for name, (owner, *borrowers) in shared.items():
        if j in borrowers:
            borrowed[owner] = (*borrowed.get(owner, ()), name)
        elif j == owner:
            lent |= {borrower: (*lent.get(borrower, ()), name) for borrower in borrowers}
    return dict(sorted(borrowed.items())), dict(sorted(lent.items()))
