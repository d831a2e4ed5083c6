"""Reads all splits as a training would, and says what they hold.

Rows go through on their way to the disk, and from there into the tokenizer, some at a time.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.config import Config, DataConfig
from pipelines.data.holding import RowFile
from pipelines.data.order import pieces_of
from pipelines.data.read import find_records
from pipelines.data.row_bytes import to_bytes
from pipelines.data.sources import sources
from pipelines.errors import UserError
from pipelines.model.load import load_config_of
from pipelines.survey.budget import Budget, suggest
from pipelines.survey.duplicates import Duplicates, Repeated
from pipelines.tasks import make_task
from pipelines.tasks.task import Task

AT_ONCE = 64
"""Rows that are encoded together."""
SHOWN = 20
"""Faults of a split that are told; all are counted."""
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


@dataclass(slots=True)
class Split:
    """What one split holds."""

    source: str
    num_rows: int = 0
    """That can be read."""
    num_faults: int = 0
    faults: list[str] = field(default_factory=list)
    """Why rows cannot be read, each with its file and line: the first ones."""
    ended_early: bool = False
    """Whether what cannot be read hides all that is behind it."""
    num_repaired: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=list)
    """Of each example, in sub-words."""
    num_in_pieces: int = 0
    """Rows that are longer than the model takes, and make several examples."""
    num_cut: int = 0
    """Examples that lose something because they are too long."""
    num_unseen: int = 0
    """Words of which the tokenizer leaves nothing."""

    @property
    def quantiles(self) -> dict[float, int]:
        if not self.lengths:
            return {}
        found = np.quantile(self.lengths, QUANTILES, method="inverted_cdf")
        return {share: int(length) for share, length in zip(QUANTILES, found, strict=True)}

    def fault(self, error: UserError) -> None:
        self.num_faults += 1
        if len(self.faults) < SHOWN:
            self.faults.append(str(error))


@dataclass(frozen=True, slots=True)
class Survey:
    """What a data set holds, and what that means for a training."""

    task: str
    longest: int
    """Sub-words that an example may have: `data.max_length`, or what the model takes if that is less."""
    splits: Mapping[str, Split]
    duplicates: Sequence[Repeated]
    unknown: Mapping[str, Sequence[str]]
    """By split, labels that train lacks."""
    budget: Budget | None
    """None where there is nothing to train on."""

    @property
    def refused(self) -> list[str]:
        """Why a training would refuse this data; nothing if it would not."""
        found = [f"{s.num_faults:,} rows of {name} cannot be read" for name, s in self.splits.items() if s.num_faults]
        found += [f"{name} holds labels that train lacks" for name in self.unknown]
        if self.budget is not None and self.budget.longest > self.budget.given:
            longest, given = self.budget.longest, self.budget.given
            found.append(f"the longest example has {longest:,} sub-words, and train.token_budget is {given:,}")
        return found

    def to_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "max_length": self.longest,
            "splits": {name: _split_json(split) for name, split in self.splits.items()},
            "duplicates": [
                {"split": one.split, "first_in": one.first_in, "rows": one.rows, "other_answer": one.other_answer,
                 "places": list(one.places)}
                for one in self.duplicates
            ],
            "labels_that_train_lacks": {name: list(labels) for name, labels in self.unknown.items()},
            "token_budget": None if self.budget is None else self.budget.to_json(),
            "refused": self.refused,
        }  # fmt: skip


def survey(config: Config) -> Survey:
    """Look at all splits that a config names. Needs the model's tokenizer and configuration, not its weights.

    Raises:
        UserError: there is no data or no model, or the config asks for what cannot be. What is wrong with rows is part
            of what is found.
    """
    task, data = make_task(config.train.task), config.data
    task.kind.columns(data).check()
    there = sources(data)
    processor = task.load_processor(config.model.source)
    positions = getattr(load_config_of(config.model.source), "max_position_embeddings", None)
    longest = min(data.max_length, getattr(processor, "model_max_length", data.max_length), positions or 2**31)
    duplicates, splits = Duplicates(), dict[str, Split]()
    folder, rows = Path(data.scratch or tempfile.gettempdir()), dict[str, RowFile]()
    for name, source in there.items():
        rows[name] = RowFile(folder)
        splits[name] = _read(name, source, data, task, duplicates, rows[name])
    # With all labels of all splits: what a row costs does not depend on which of them train has.
    labels = task.labels({"train": frozenset(label for split in splits.values() for label in split.labels)})
    for name, split in splits.items():
        for first in range(0, len(rows[name]), AT_ONCE):
            _encode(split, rows[name][first : first + AT_ONCE], task, processor, labels, longest)
    known = set(task.labels({"train": frozenset(splits["train"].labels)}))
    lacking = {name: sorted(set(split.labels) - known) for name, split in splits.items()} if labels else {}
    return Survey(
        task=config.train.task,
        longest=longest,
        splits=splits,
        duplicates=duplicates.found,
        unknown={name: unknown for name, unknown in lacking.items() if unknown},
        budget=suggest(splits["train"].lengths, config) if splits["train"].lengths else None,
    )


def _read(name: str, source: str, data: DataConfig, task: Task, duplicates: Duplicates, rows: RowFile) -> Split:
    split, kind, some = Split(source), task.kind, False
    try:
        found, named = find_records(source, split=name, data=data, kind=kind)
        for one in found:
            try:
                if isinstance(one, UserError):
                    raise one
                row = kind.row(one, data)
            except UserError as error:
                split.fault(error)
                continue
            rows.append(to_bytes(row))
            duplicates.add(name, one, row)
            split.num_rows += 1
            split.labels.update(kind.labels_of(row))
            split.num_repaired += kind.num_repaired(one, row) if data.iob == "repair" else 0
            some = some or not kind.says_nothing(row)
        if not some and not split.num_faults:
            split.fault(kind.empty(named, split.num_rows))
    except UserError as error:
        split.fault(error)
        split.ended_early = True
    return split


def _encode(split: Split, rows: Sequence[Any], task: Task, processor: Any, labels: Sequence[str], longest: int) -> None:
    try:
        examples = task.encode(rows, processor, labels, longest)
    except UserError as error:
        if len(rows) == 1:
            split.fault(error)
            split.num_rows -= 1
            return
        for row in rows:
            _encode(split, [row], task, processor, labels, longest)
        return
    split.lengths += [example.length for example in examples]
    split.num_in_pieces += int((pieces_of([example.continues for example in examples]) > 1).sum())
    split.num_cut += sum(example.num_cut > 0 for example in examples)
    split.num_unseen += sum(example.num_unseen for example in examples)


def _split_json(split: Split) -> dict[str, Any]:
    return {
        "source": split.source,
        "rows": split.num_rows,
        "examples": len(split.lengths),
        "sub_words": sum(split.lengths),
        "length_quantiles": {f"{share:g}": length for share, length in split.quantiles.items()},
        "in_pieces": split.num_in_pieces,
        "cut": split.num_cut,
        "unseen": split.num_unseen,
        "tags_repaired": split.num_repaired,
        "labels": dict(_by_count(split.labels.items())),
        "unreadable": split.num_faults,
        "faults": split.faults,
        "ended_early": split.ended_early,
    }


def _by_count(labels: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    return sorted(labels, key=lambda one: (-one[1], one[0]))
