"""Let the stages write texts: what they answer to is written so far goes back to the data shards, and on from there.

data shard --- example with what is written of it ---> stage 0 ---> ... ---> last stage
    ^                                                                            |
    +------------------------- driver <--------- the next sub-words -------------+
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from cluster.data_crew import DataCrew
from cluster.evaluation import Evaluation
from pipelines.data.batches import MicroBatch
from pipelines.tasks.writing import Asked, write
from pipelines.tasks.writing_rules import WritingRules


def write_texts(
    split: str,
    asked: Mapping[int, Asked],
    *,
    data: DataCrew,
    evaluation: Evaluation,
    rules: WritingRules,
    token_budget: int,
) -> dict[int, list[int]]:
    """The sub-words of every text of a split that is asked for, by the number of its example."""

    def next_tokens(batches: Sequence[MicroBatch], written: Mapping[int, Sequence[int]]) -> Mapping[int, int]:
        return evaluation.run(batches, partial(data.hand_out, split, written=written))

    return write(asked, next_tokens, most=rules.most, ends=rules.ends, token_budget=token_budget)
