"""The classes of a run: the labels of train, and those that the config gives beside them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pipelines.errors import UserError
from pipelines.tasks.task import Task


def all_labels(task: Task, splits: Mapping[str, Collection[str]], given: Sequence[str]) -> list[str]:
    """What the model's classes stand for, in the task's order: it does not depend on where a label comes from.

    Args:
        splits: the labels of each split.
        given: `data.labels`.

    Raises:
        UserError: labels were given that examples of the task cannot have.
    """
    if not given:
        return task.labels(splits)
    known = task.labels({**splits, "train": {*splits["train"], *given}})
    if not known:
        raise UserError("data.labels names labels, and examples of this task have none. Remove it.")
    if stray := [label for label in given if label not in known]:
        raise UserError(
            f"data.labels names {', '.join(map(repr, stray[:10]))}, which no example of this task can have. Write "
            "labels as the data has them (tags in full, such as B-PER), or remove them."
        )
    return known
