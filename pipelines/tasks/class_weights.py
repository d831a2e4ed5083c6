"""What each class weighs in the loss, from `train.class_weights`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pipelines.errors import UserError

ClassWeights = Mapping[str, float] | Literal["balanced"] | None


def check_class_weights(wanted: ClassWeights, labels: Sequence[str]) -> None:
    """Check that weights are given for known labels only.

    Raises:
        UserError: names the labels that are not known, and the known ones, or says that there are none.
    """
    if wanted is not None and not labels:
        raise UserError("train.class_weights weighs labels, and examples of this task have none. Remove it.")
    unknown = sorted(set(wanted).difference(labels)) if isinstance(wanted, Mapping) else []
    if unknown:
        raise UserError(
            f"train.class_weights gives a weight to {', '.join(map(repr, unknown))}, but the labels of the training "
            f"split are {', '.join(labels)}. Correct or remove it."
        )


def named_weights(wanted: Mapping[str, float], labels: Sequence[str]) -> tuple[float, ...]:
    """The weights in the order of `labels`: 1 where none is given.

    Raises:
        UserError: a weight for a label that is not known.
    """
    check_class_weights(wanted, labels)
    return tuple(float(wanted.get(label, 1.0)) for label in labels)


def balanced_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """targets / (classes * targets of the class), as scikit-learn's `compute_class_weight("balanced")` has it.

    Args:
        counts: targets of each class. One that has none is not among the classes, and weighs 1.
    """
    present = sum(count > 0 for count in counts)
    return tuple(sum(counts) / (present * count) if count else 1.0 for count in counts)
