"""What a search may choose from, as a person writes it: `train.learning_rate=1e-5..1e-3`, `train.batch_size=8,16`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.errors import UserError
from pipelines.yaml_text import parse

DECADE = 10
"""A range whose ends differ by this factor or more is drawn from by the logarithm."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these values."""

    values: tuple[Any, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.values


@dataclass(frozen=True, slots=True)
class Range:
    """A number between two, both included."""

    low: float
    high: float
    whole: bool
    """Whole numbers only."""

    def __contains__(self, value: object) -> bool:
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    @property
    def by_logarithm(self) -> bool:
        return self.low > 0 and self.high / self.low >= DECADE


Space = dict[str, Choice | Range]


def parse_space(written: Sequence[str]) -> Space:
    """Each `KEY=A..B` is a range, each `KEY=A,B,C` a choice.

    Raises:
        UserError: one is neither, a range's ends are no numbers or in the wrong order, or nothing is to be searched.
    """
    if not written:
        raise UserError(
            "There is nothing to search: say what to vary with --search, for example --search "
            "train.learning_rate=1e-5..1e-3 --search train.batch_size=8,16,32."
        )
    space: Space = {}
    for one in written:
        key, sign, text = one.partition("=")
        if not sign or not key or key in space:
            again = " once" if key in space else ""
            raise UserError(f"{one!r} does not say what to search. Write KEY=A..B or KEY=A,B,C,{again} for each key.")
        space[key] = _range(one, text) if ".." in text else _choice(one, text)
    return space


def overrides(chosen: Mapping[str, Any]) -> list[str]:
    """What was chosen, as `key=value`."""
    return [f"{key}={json.dumps(value)}" for key, value in chosen.items()]


def held_within(space: Space, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What was chosen, with numbers beyond the ends of their range taken to the end."""
    return {key: _held(space[key], value) for key, value in chosen.items()}


def corners(space: Space) -> Iterator[list[str]]:
    """One value of one key at a time, as overrides: every choice, and both ends of every range."""
    for key, one in space.items():
        values = one.values if isinstance(one, Choice) else (one.low, one.high)
        whole = isinstance(one, Range) and one.whole
        for value in values:
            yield overrides({key: int(value) if whole else value})


def _held(one: Choice | Range, value: Any) -> Any:
    return value if isinstance(one, Choice) else type(value)(min(max(value, one.low), one.high))


def _range(one: str, text: str) -> Range:
    low, _, high = text.partition("..")
    try:
        ends = float(low), float(high)
    except ValueError:
        ends = math.nan, math.nan
    if not all(map(math.isfinite, ends)) or ends[0] >= ends[1]:
        raise UserError(f"{one!r} is no range: write two numbers, the lower first, such as 1e-5..1e-3 or 2..6.")
    return Range(*ends, whole=low.strip().lstrip("-").isdecimal() and high.strip().lstrip("-").isdecimal())


def _choice(one: str, text: str) -> Choice:
    values = tuple(parse(part) for part in text.split(",") if part.strip())
    if len(values) < 2:
        raise UserError(
            f"{one!r} leaves nothing to choose: write two or more values (8,16,32) or a range (1e-5..1e-3)."
        )
    return Choice(values)
