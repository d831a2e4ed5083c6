"""The run in which a pruned model learns again what it lost: from the data, and from the whole model's answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pipelines.config import Config, from_overrides
from pipelines.errors import UserError
from pipelines.inference.facts import read_facts
from pipelines.tasks import make_task

RECIPE = ("run.name=pruned", "train.epochs=3", "train.learning_rate=4e-4", "checkpoint.keep=1", "plan.timeout=1800")
"""Unless told otherwise. What the blocks that are gone did the others learn anew: that takes larger steps than
fine-tuning does. More epochs on six thousand rows made it worse. Asking the teacher row by row takes minutes, in which
the first step is waited for."""
TAUGHT = ("train.distil.weight=0.7", "train.distil.temperature=2")
FIXED = {"model", "model.source", "run.output", "train.distil.teacher", "train.task", "train.keep_zeros", "adapter"}
"""Follows from the model that is pruned."""


def recovery(folder: Path, name: str, overrides: Sequence[str], *, keep_zeros: bool = False) -> Config:
    """The run's configuration, without the model that it starts from.

    Args:
        folder: of the whole model. Where its task can learn from a teacher, it is that.
        name: of the whole model; the pruned one is registered under it with `-pruned` behind.
        overrides: `key=value`, as jobs.train takes them, the data among them.
        keep_zeros: whether single weights of the pruned one are zero, and are to stay so.

    Raises:
        UserError: a key that there is not, or one that is not for whoever calls to set; a model of no task.
    """
    given = {override.partition("=")[0] for override in overrides}
    if fixed := sorted(given & FIXED):
        raise UserError(
            f"{', '.join(fixed)} cannot be set here: it follows from the model that is pruned. Leave it out."
        )
    task = read_facts(folder).get("task")
    if not isinstance(task, str):
        raise UserError(
            f"{folder} has no task.json that names its task: give a model's folder as jobs.train writes it."
        )
    kept = [f"train.task={task}", f"track.register_as={json.dumps(f'{name}-pruned')}"]
    if keep_zeros:
        kept.append("train.keep_zeros=true")
    if make_task(task).distils:
        kept += [f"train.distil.teacher={json.dumps(str(folder.absolute()))}", *TAUGHT]
    return from_overrides([*RECIPE, *kept, *overrides])
