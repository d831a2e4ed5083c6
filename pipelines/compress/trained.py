"""A trained model, and what its task loses on labelled rows: what pruning goes by, and is held against."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.config import DataConfig
from pipelines.data.batches import evaluation_batches
from pipelines.data.pack import merge, pack
from pipelines.data.read import read_split
from pipelines.errors import UserError
from pipelines.evaluate.answer import labels_of
from pipelines.inference.predictor import TOKENS_PER_PASS
from pipelines.model.load import load_model, without_caches
from pipelines.model.pretrained import positions
from pipelines.tasks.head import Batch
from pipelines.tasks.task import Task

LARGEST_ERROR = 1e-4
"""Of the loss, between the model with parts passed over and the same read from its folder."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Which labelled rows are measured on."""

    source: str
    split: str
    data: DataConfig
    most_rows: int
    """Evenly drawn."""


@dataclass(frozen=True, slots=True)
class TaskLoss:
    """The loss of a task on rows that are encoded once."""

    task: Task
    batches: Sequence[Batch]
    rows: int
    targets: int

    def sums(self, model: nn.Module) -> Iterator[Tensor]:
        """Of each pass, over its targets."""
        for batch in self.batches:
            yield self.task.loss_sum(model(**self.task.inputs(batch)), batch)

    def __call__(self, model: nn.Module) -> float:
        """Of a target, on average."""
        with torch.inference_mode():
            return sum(map(float, self.sums(model))) / self.targets


class Trained:
    """The model in a folder, in evaluation mode, with what its task needs to try it."""

    def __init__(self, folder: Path, task: Task) -> None:
        """
        Raises:
            UserError: it cannot be loaded.
        """
        self._task, self._labels = task, labels_of(folder)
        self.model: Any = self._read(folder)
        self._cached = without_caches(self.model)
        self._processor = task.load_processor(str(folder))

    def probe(self) -> Mapping[str, Tensor]:
        """A small micro-batch, as the model takes it."""
        return self._task.probe(self._processor)

    def loss_on(self, sample: Sample, *, tokens: int = TOKENS_PER_PASS) -> TaskLoss:
        """
        Args:
            tokens: most padded sub-words in one pass; a longer row goes alone.

        Raises:
            UserError: data that cannot be used, or without a target.
        """
        data = sample.data
        rows = read_split(sample.source, split=sample.split, data=data, kind=self._task.kind).rows
        rows = rows[:: math.ceil(len(rows) / sample.most_rows)] if rows else rows
        reads = getattr(self._processor, "model_max_length", data.max_length)
        longest = min(data.max_length, reads, positions(self.model))
        encoded = self._task.encode(rows, self._processor, self._labels, longest)
        if not (targets := sum(row.num_targets for row in encoded)):
            raise UserError(
                f"The {sample.split} split of {sample.source} holds nothing to measure on: give one with labelled rows."
            )
        padding = self._task.padding(self._processor)
        batches = [
            merge([pack([encoded[n] for n in batch.rows], range(len(batch.rows)))], padding)
            for batch in evaluation_batches([row.length for row in encoded], token_budget=tokens)
        ]
        return TaskLoss(self._task, batches, len(rows), targets)

    def restore_settings(self) -> None:
        """Let the configuration say what it said before the model was loaded here, for whoever saves it."""
        for config in self._cached:
            config.use_cache = True

    def check_written(self, out: Path, loss: TaskLoss, expected: float, *, why: str) -> None:
        """
        Args:
            expected: the loss of the model while it passes over what it was written to `out` without.
            why: what may be the matter where it is another.

        Raises:
            UserError: it is another.
        """
        found = loss(self._read(out))
        if not abs(found - expected) <= LARGEST_ERROR * max(1.0, abs(expected)):
            raise UserError(
                f"{type(self.model).__name__}, pruned, answers otherwise when it is read again (loss {found:.4g}, and "
                f"{expected:.4g} before): {why}. It cannot be pruned here."
            )

    def _read(self, folder: Path) -> nn.Module:
        options = self._task.model_options(self._labels)
        return load_model(str(folder), auto_class=self._task.auto_class, dtype="float32", seed=0, **options).eval()
