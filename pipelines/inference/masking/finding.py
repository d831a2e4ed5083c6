"""What was found in a text, and what holds where findings overlap."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

KIND = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
"""How a kind is written, so that it can stand in a token."""


@dataclass(frozen=True, slots=True)
class Finding:
    kind: str
    start: int
    end: int
    """`text[start:end]` is personal, counted in code points; never empty."""


def merge(found: Iterable[Finding], rank: Mapping[str, int]) -> list[Finding]:
    """Findings that overlap become one, which covers all of them, so that no part of any is left.

    It is of the longest one's kind; of the kind with the lowest `rank` where lengths are equal (kinds without a rank
    come last, in the order of their names).
    """
    groups: list[list[Finding]] = []
    end = 0
    for finding in sorted(found, key=lambda one: (one.start, one.end)):
        if groups and finding.start < end:
            groups[-1].append(finding)
            end = max(end, finding.end)
        else:
            groups.append([finding])
            end = finding.end
    return [_one(group, rank) for group in groups]


def _one(group: list[Finding], rank: Mapping[str, int]) -> Finding:
    best = min(group, key=lambda one: (one.start - one.end, rank.get(one.kind, len(rank)), one.kind))
    return Finding(best.kind, group[0].start, max(one.end for one in group))
