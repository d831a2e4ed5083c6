"""What the targets of a run weigh in its loss: the shards know their classes, the driver divides by the sum."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.data_crew import DataCrew
from pipelines.config import TrainConfig
from pipelines.data.shard import Lengths
from pipelines.tasks.class_weights import balanced_weights, named_weights
from pipelines.tasks.cross_entropy import CrossEntropy


def weigh(
    train: TrainConfig, labels: Sequence[str], data: DataCrew, lengths: Lengths
) -> tuple[CrossEntropy, Sequence[float]]:
    """The settings of the loss, and what the targets of each row of the training split weigh together.

    Args:
        labels: what the classes stand for.
        data: the shards, when they have encoded their rows.
        lengths: of the training split.

    Raises:
        UserError: a weight for a label that is not known.
    """
    if train.class_weights is None:
        return CrossEntropy(train.label_smoothing), lengths.num_targets
    if train.class_weights == "balanced":
        weights = balanced_weights(data.class_counts("train", len(labels)))
    else:
        weights = named_weights(train.class_weights, labels)
    return CrossEntropy(train.label_smoothing, weights), data.target_weights("train", weights)
