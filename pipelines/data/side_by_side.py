"""Short texts side by side in one row: which go together, so that rows are few and about equally full."""

from __future__ import annotations

from collections.abc import Sequence

TRIES = 10
"""Halvings of what is left open; seven bring MULTIFIT within 2 % of where it converges (Coffman et al. 1978)."""


def side_by_side(rows: Sequence[int], lengths: Sequence[int], *, num_lines: int, most: int) -> list[list[int]]:
    """Lines of examples: `num_lines` or fewer, or, where these would be longer than `most`, twice or thrice as many.

    The shortest lines with which first-fit decreasing (Johnson 1973, Near-Optimal Bin Packing Algorithms) comes to so
    many, found by bisection: MULTIFIT (Coffman, Garey and Johnson 1978, An Application of Bin-Packing to Multiprocessor
    Scheduling). So lines are about equally full, also where there are several to a micro-batch. A function of the
    lengths alone.

    Args:
        rows: numbers of the examples.
        lengths: of all examples, in sub-words; none of `rows` is longer than `most`.
        num_lines: lines that are wanted.
        most: sub-words of the longest line there may be.
    """
    total, longest = sum(lengths[row] for row in rows), max(lengths[row] for row in rows)
    best = first_fit_decreasing(rows, lengths, most)
    wanted = -(-len(best) // num_lines) * num_lines
    low, high = max(longest, -(-total // wanted)), most
    for _ in range(TRIES):
        if low >= high:
            break
        middle = (low + high) // 2
        found = first_fit_decreasing(rows, lengths, middle)
        if len(found) <= wanted:
            best, high = found, middle
        else:
            low = middle + 1
    return best


def first_fit_decreasing(rows: Sequence[int], lengths: Sequence[int], room: int) -> list[list[int]]:
    """Each example, the longest first, in the first line that has room for it."""
    lines: list[list[int]] = []
    left: list[int] = []
    for row in sorted(rows, key=lambda row: (-lengths[row], row)):
        length = lengths[row]
        at = next((n for n, rest in enumerate(left) if rest >= length), len(lines))
        if at == len(lines):
            lines.append([])
            left.append(room)
        lines[at].append(row)
        left[at] -= length
    return lines
