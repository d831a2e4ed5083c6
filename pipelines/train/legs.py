"""Where a run pauses: to save a checkpoint, and to score at the end of an epoch."""

from __future__ import annotations

from collections.abc import Iterator


def legs(done: int, num_steps: int, *, every: int | None, epoch: int) -> Iterator[tuple[int, int]]:
    """(first, end) of the steps that run without a pause between them, from step `done` on.

    Args:
        every: steps between checkpoints; None for one at the end of every epoch.
        epoch: steps of an epoch.
    """
    every = every or epoch
    ends = {*range(every, num_steps, every), *range(epoch, num_steps, epoch), num_steps}
    for end in sorted(ends):
        if end > done:
            yield done, end
            done = end
