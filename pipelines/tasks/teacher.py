"""Learning from a teacher: its answers to the training rows are a column of them, and a part of the loss.

    loss of a row = (1 - weight) * the task's own + weight * T² * KL(teacher at T || model at T)

(Hinton et al. 2015). The data shard that holds a row asks the teacher once, when it tokenises: one row at a time, so
that the answer does not depend on which rows a shard holds. A teacher may have another tokenizer than the model, and
sit on other devices. Where words have labels, the loss of a word is made so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines.data.examples import Array, Encoded, floats
from pipelines.data.pack import merge, pack
from pipelines.distil_settings import DistilConfig
from pipelines.errors import UserError
from pipelines.tasks.precision import widened

if TYPE_CHECKING:
    from pipelines.tasks.task import Task

TEACHER = "teacher"
"""The column of the teacher's logits: [classes] of a row, or [length, classes] where words have labels."""
Place = Callable[[Encoded, Encoded, Array], Array]
"""Of an example, the same row as the teacher reads it, and the teacher's logits for that: the example's column."""
Spread = Callable[[Any, "Task", str], Callable[[], None]]
"""Has a model, of a task and a source, computed by devices of its own; returns what ends that."""


def of_row(example: Encoded, own: Encoded, logits: Array) -> Array:  # noqa: ARG001
    """Logits of a row as a whole."""
    return logits


def taught(
    task: Task, distil: DistilConfig, rows: Sequence[Any], examples: Sequence[Encoded], labels: Sequence[str],
    max_length: int, spread: Spread | None, *, place: Place = of_row,
) -> list[Encoded]:  # fmt: skip
    """The examples, one a row, with what the teacher says of each.

    Args:
        spread: has the teacher computed elsewhere meanwhile.
        place: where in the column the teacher's logits belong.

    Raises:
        UserError: there is no such teacher, or it was trained for other labels.
    """
    from pipelines.model.load import config_of, load_model
    from pipelines.model.pretrained import positions

    model = load_model(distil.teacher, auto_class=task.auto_class, dtype="float32", seed=0).eval()
    order = _order(distil.teacher, config_of(model).id2label, labels)
    processor = task.load_processor(distil.teacher)
    longest = min(max_length, getattr(processor, "model_max_length", max_length), positions(model))
    padding = task.padding(processor)
    end = None if spread is None else spread(model, task, distil.teacher)
    found = []
    try:
        for example, own in zip(examples, task.encode(rows, processor, labels, longest), strict=True):
            batch = merge([pack([own], [0])], padding)
            with torch.inference_mode():
                logits = model(**task.inputs(batch)).logits[0][..., order]
            said = place(example, own, floats(logits.numpy()))
            found.append(replace(example, columns=example.columns | {TEACHER: said}))
    finally:
        if end is not None:
            end()
    return found


def distance_sum(logits: Tensor, teacher: Tensor, temperature: float, weights: Tensor | None) -> Tensor:
    """T² * KL(teacher at T || model at T), summed over rows.

    Args:
        logits: [rows, classes], like the `teacher`'s; half precision is computed in float32.
        weights: of each row, [rows]; 1 when None.
    """
    logits = widened(logits)
    said = F.log_softmax(logits / temperature, -1)
    true = F.log_softmax(teacher.to(logits.dtype) / temperature, -1)
    of_rows = F.kl_div(said, true, reduction="none", log_target=True).sum(-1)
    return temperature**2 * (of_rows if weights is None else of_rows * weights).sum()


def _order(source: str, id2label: dict[int, str] | None, labels: Sequence[str]) -> list[int]:
    """Where the teacher has each label.

    Raises:
        UserError: it lacks some, or has more.
    """
    at = {label: int(i) for i, label in (id2label or {}).items()}
    if set(at) != set(labels):
        odd = sorted(set(at) ^ set(labels))
        more = f" and {len(odd) - 10} more" if len(odd) > 10 else ""
        raise UserError(
            f"The teacher {source} was trained for other labels than this run has; only one of them has: "
            f"{', '.join(odd[:10])}{more}. Give a teacher of the same labels (train.distil.teacher), or name "
            "those that train lacks in data.labels."
        )
    return [at[label] for label in labels]
