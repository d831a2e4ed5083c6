"""The token budget that lengths suggest: found by making an epoch's micro-batches, not by a rule of thumb."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipelines.config import Config
from pipelines.data.batches import epoch_steps, padding_waste
from pipelines.plan.left_open import decided

MULTIPLE = 64
"""A suggestion is a multiple of this: lengths of another epoch's batches differ a little."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Sub-words, padding included, of a micro-batch."""

    given: int
    """`train.token_budget`."""
    suggested: int
    """The least with which no batch of the first epoch is split into more pieces than `train.micro_batches`."""
    usual: int
    """The least for 99 of 100 micro-batches: what fits where memory is short."""
    longest: int
    """Of one example, and so the least that can be."""
    micro_batches: int
    num_steps: int
    """Of an epoch."""
    split_more: int
    """Batches of the first epoch that the given budget splits into more pieces."""
    padding: float
    """Share of the sub-words that is padding with the suggested budget."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def suggest(lengths: Sequence[int], config: Config) -> Budget:
    """Make the first epoch's micro-batches as if there were no budget, and look at them.

    Args:
        lengths: of the training split, at least one.
    """
    train = decided(config).train
    assert train.micro_batches != "auto"
    options: dict[str, Any] = {
        "batch_size": train.batch_size, "accumulate": 1, "micro_batches": train.micro_batches,
        "seed": config.run.seed, "epoch": 0, "packing": config.data.max_length if config.data.packing else None,
    }  # fmt: skip
    free = epoch_steps(lengths, token_budget=train.batch_size * max(lengths), **options)
    sizes = [piece.num_padded_tokens for step in free for piece in step.micro_batches]
    rounded = [-(-int(size) // MULTIPLE) * MULTIPLE for size in (max(sizes), np.quantile(sizes, 0.99))]
    return Budget(
        given=train.token_budget,
        suggested=max(rounded[0], 8),
        usual=max(rounded[1], -(-max(lengths) // MULTIPLE) * MULTIPLE),
        longest=max(lengths),
        micro_batches=train.micro_batches,
        num_steps=-(-len(free) // train.accumulate),
        split_more=sum(any(p.num_padded_tokens > train.token_budget for p in s.micro_batches) for s in free),
        padding=padding_waste(free, lengths),
    )
