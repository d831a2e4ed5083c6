"""How often a caller may ask, as people write it."""

from __future__ import annotations

import re
from dataclasses import dataclass

UNITS = {"s": 1, "min": 60, "h": 3600, "day": 86_400}
MOST = 10**9
"""Requests in one unit of time."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `amount` requests at once, and `amount` in `seconds` in the long run."""

    amount: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Read `100/min`, `5/s`, `1000/h` or `20000/day`.

        Raises:
            ValueError: it is none of these; says how to write one.
        """
        found = re.fullmatch(r"([0-9]{1,10})/(s|min|h|day)", text)
        if found is None or not 1 <= int(found[1]) <= MOST:
            raise ValueError(f"write a number from 1 to {MOST} and one of /s, /min, /h, /day, such as 100/min")
        return cls(int(found[1]), UNITS[found[2]])

    def __str__(self) -> str:
        return f"{self.amount}/{next(unit for unit, seconds in UNITS.items() if seconds == self.seconds)}"
