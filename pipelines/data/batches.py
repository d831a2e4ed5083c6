"""Which examples make a step, and how a step falls into micro-batches.

A pure function of the examples' lengths and the config: not of the number of data shards, stages or
threads. That is what makes a run's result independent of how it was spread.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate as running_sum
from itertools import pairwise

from pipelines.data.side_by_side import side_by_side
from pipelines.plan.partition import solve

MEGA = 50
"""Batches that are sorted by length together; the order within an epoch stays random beyond that."""

OVERHEAD = 8
"""What a row costs beside its sub-words, in sub-words, when pieces are made equal."""


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Examples that go through the model together, padded to the longest."""

    rows: tuple[int, ...]
    """Numbers of the examples in their split, in the order of the rows."""
    width: int
    """Length in sub-words of the longest row."""
    spots: tuple[tuple[int, int], ...] | None = None
    """Of each example the row that it shares, and where in it it begins; None: each has a row of its own."""
    epoch: int | None = None
    """Of training: what is drawn anew in every epoch goes by it."""

    @property
    def num_lines(self) -> int:
        """Rows of the tensors that the model gets."""
        return len(self.rows) if self.spots is None else 1 + max(line for line, _ in self.spots)

    @property
    def num_padded_tokens(self) -> int:
        return self.num_lines * self.width


@dataclass(frozen=True, slots=True)
class Step:
    """What makes one update of the weights."""

    micro_batches: tuple[MicroBatch, ...]

    @property
    def rows(self) -> list[int]:
        return [row for micro_batch in self.micro_batches for row in micro_batch.rows]


def epoch_steps(
    lengths: Sequence[int],
    *,
    batch_size: int,
    accumulate: int,
    micro_batches: int,
    token_budget: int,
    seed: int,
    epoch: int,
    packing: int | None = None,
) -> list[Step]:
    """The steps of one epoch: every example exactly once, batches of like lengths in random order.

    Args:
        lengths: of all examples, in sub-words.
        batch_size: examples in a batch; `accumulate` batches make a step.
        micro_batches: pieces of about equal padded size that each batch is split into.
        token_budget: most padded sub-words of a piece; more pieces are made where needed.
        seed, epoch: what the order depends on; the micro-batches know their epoch.
        packing: most sub-words of a row that several examples may share; None: none do. Steps hold the same examples
            either way.

    Raises:
        ValueError: an example is longer than the token budget.
    """
    if lengths and max(lengths) > token_budget:
        raise ValueError(f"an example of {max(lengths)} sub-words does not fit a token budget of {token_budget}")
    order = list(range(len(lengths)))
    chance = random.Random(f"{seed}/{epoch}")
    chance.shuffle(order)
    batches: list[list[int]] = []
    for start in range(0, len(order), MEGA * batch_size):
        mega = sorted(order[start : start + MEGA * batch_size], key=lambda row: -lengths[row])
        batches += [mega[at : at + batch_size] for at in range(0, len(mega), batch_size)]
    chance.shuffle(batches)
    pieces = [split(batch, lengths, micro_batches, token_budget, packing) for batch in batches]
    return [
        Step(tuple(replace(piece, epoch=epoch) for batch in pieces[at : at + accumulate] for piece in batch))
        for at in range(0, len(pieces), accumulate)
    ]


def split(
    rows: Sequence[int], lengths: Sequence[int], num_pieces: int, token_budget: int, packing: int | None = None
) -> list[MicroBatch]:
    """Split a batch into pieces of like lengths and about equal cost, each within the token budget."""
    if packing is None:
        lines = [[row] for row in rows]
    else:
        lines = side_by_side(rows, lengths, num_lines=num_pieces, most=min(packing, token_budget))
    lines.sort(key=lambda line: (-sum(lengths[row] for row in line), line[0]))
    fills = [sum(lengths[row] for row in line) for line in lines]
    wanted = min(num_pieces, len(lines))
    while True:
        # Sorted by falling length, a line costs what the first of its piece costs, nearly its own length.
        starts = [0, *solve([fill + OVERHEAD for fill in fills], wanted), len(lines)]
        pieces = [
            MicroBatch(
                tuple(row for line in lines[a:b] for row in line),
                fills[a],
                None if packing is None else _spots(lines[a:b], lengths),
            )
            for a, b in pairwise(starts)
            if a < b
        ]
        if all(piece.num_padded_tokens <= token_budget for piece in pieces):
            return pieces
        wanted += 1


def _spots(lines: Sequence[Sequence[int]], lengths: Sequence[int]) -> tuple[tuple[int, int], ...]:
    return tuple(
        (n, start)
        for n, line in enumerate(lines)
        for start in running_sum((lengths[row] for row in line[:-1]), initial=0)
    )


def evaluation_batches(lengths: Sequence[int], *, token_budget: int) -> list[MicroBatch]:
    """All examples once, longest first, as many together as the token budget takes."""
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    batches: list[MicroBatch] = []
    at = 0
    while at < len(order):
        width = lengths[order[at]]
        size = max(1, token_budget // max(1, width))
        batches.append(MicroBatch(tuple(order[at : at + size]), width))
        at += size
    return batches


def padding_waste(steps: Sequence[Step], lengths: Sequence[int]) -> float:
    """Share of the sub-words that the model computes which are padding."""
    padded = sum(piece.num_padded_tokens for step in steps for piece in step.micro_batches)
    useful = sum(lengths[row] for step in steps for row in step.rows)
    return 1 - useful / padded if padded else 0.0
