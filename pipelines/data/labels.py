"""The classes of a run, from the tags of its splits."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pipelines.data.iob import OUTSIDE
from pipelines.errors import UserError


def tag_list(splits: Mapping[str, Collection[str]]) -> list[str]:
    """The labels of train, from the tags of each split: `O` first where it occurs, then by type, B- before I-.

    A type that occurs has both its B- and its I-, so that a longer entity than any in train can be found.
    """
    seen = splits["train"]
    kinds = sorted({label[2:] for label in seen if label != OUTSIDE})
    return [OUTSIDE] * (OUTSIDE in seen) + [f"{prefix}-{kind}" for kind in kinds for prefix in "BI"]


def check_labels(splits: Mapping[str, Collection[str]], known: Sequence[str]) -> None:
    """Check that dev and test hold no label that train lacks: a model cannot learn what it never sees.

    Args:
        splits: the labels of each split.
        known: those of the model.

    Raises:
        UserError: names the labels and the split.
    """
    for split, labels in splits.items():
        unknown = sorted(set(labels).difference(known))
        if unknown:
            more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
            raise UserError(
                f"The {split} split holds labels that train lacks: {', '.join(unknown[:10])}{more} (train has "
                f"{', '.join(known[:20])}). Add examples with them to train, or correct or remove those of {split}."
            )
