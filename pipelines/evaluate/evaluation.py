"""Everything that is found out of one model's answers to one split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from pipelines.data.examples import Array
from pipelines.evaluate.calibration import Calibration, calibrate
from pipelines.evaluate.resample import Comparison, Interval, compare, interval
from pipelines.report.report import Report
from pipelines.tasks.task import Task

WORST = 20
"""How many of the worst rows are shown."""
FEWEST = 10
"""Rows in the smallest slice that is told of."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A split and a model's answers to it, example by example: a text that is too long for the model makes several."""

    pieces: Sequence[int]
    """How many examples each row makes."""
    texts: Sequence[str]
    """Of each example its row, for a person to read."""
    lengths: Sequence[int]
    """In sub-words."""
    gold: Sequence[Any]
    answers: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Slice:
    """Some of the rows."""

    by: str
    """What they have in common: `length`, `true label`."""
    name: str
    score: Interval


@dataclass(frozen=True, slots=True)
class Worst:
    """A row that the model got wrong."""

    row: int
    """Counted from 1."""
    text: str
    true: str
    said: str
    wrongness: float
    """See `Task.wrongness`; the rows where it is highest come first."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    model: str
    data: str
    split: str
    task: str
    report: Report
    overall: Interval
    calibration: Calibration | None
    slices: Sequence[Slice]
    worst: Sequence[Worst]
    against: str | None = None
    comparison: Comparison | None = None

    def to_json(self) -> dict[str, Any]:
        """A tree of dicts, lists and numbers. It holds rows of the data: the worst ones."""
        return {
            "model": self.model,
            "data": self.data,
            "split": self.split,
            "task": self.task,
            "score_name": self.report.score_name,
            "score": asdict(self.overall),
            "report": self.report.to_json(),
            "calibration": None if self.calibration is None else asdict(self.calibration),
            "slices": [asdict(one) for one in self.slices],
            "worst": [asdict(one) for one in self.worst],
            "against": self.against,
            "comparison": None if self.comparison is None else asdict(self.comparison),
        }


def evaluate(
    task: Task,
    labels: Sequence[str],
    answered: Answered,
    *,
    model: str,
    data: str,
    split: str,
    task_name: str,
    against: tuple[str, Answered] | None = None,
) -> Evaluation:
    """Score, and say how sure that is and where it comes from.

    Args:
        labels: of the model's classes.
        model, data, split, task_name: what they are called.
        against: another model of the same classes, and its answers to the same rows.
    """
    answered = settled(task, answered)
    other = None if against is None else tallies_of(task, labels, settled(task, against[1]))
    rows = list(zip(answered.gold, answered.answers, strict=True))
    tallies = tallies_of(task, labels, answered)
    predictions = [one for gold, answer in rows for one in task.confidences(gold, answer, labels)]
    return Evaluation(
        model=model,
        data=data,
        split=split,
        task=task_name,
        report=task.report(answered.gold, answered.answers, labels),
        overall=interval(tallies, task.score_of),
        calibration=calibrate(predictions),
        slices=[*_by_length(task, answered, tallies), *_by_label(task, answered, tallies)],
        worst=_worst(task, labels, answered),
        against=None if against is None else against[0],
        comparison=None if other is None else compare(tallies, other, task.score_of),
    )


def settled(task: Task, answered: Answered) -> Answered:
    """The examples that are scored: where a row has one answer out of several examples, one that is as long as the
    longest of them."""
    scored, answers = task.settled(answered.gold, answered.answers)
    kept = np.asarray(scored, np.intp)
    row_of = np.repeat(np.arange(len(answered.pieces)), answered.pieces)
    lengths = np.asarray(answered.lengths)
    if len(kept) < len(lengths):
        longest = np.zeros(len(answered.pieces), lengths.dtype)
        np.maximum.at(longest, row_of, lengths)
        lengths = longest[row_of]
    return Answered(
        pieces=np.bincount(row_of[kept], minlength=len(answered.pieces)).tolist(),
        texts=[answered.texts[n] for n in kept],
        lengths=lengths[kept].tolist(),
        gold=[answered.gold[n] for n in kept],
        answers=answers,
    )


def tallies_of(task: Task, labels: Sequence[str], answered: Answered) -> Array:
    """[rows, figures]."""
    rows = zip(answered.gold, answered.answers, strict=True)
    return np.array([task.tally(gold, answer, labels) for gold, answer in rows], float)


def _by_length(task: Task, answered: Answered, tallies: Array) -> list[Slice]:
    """Four parts of about equal size, from the shortest rows to the longest."""
    lengths = np.asarray(answered.lengths)
    edges = np.unique(np.percentile(lengths, [0, 25, 50, 75, 100]).astype(int))
    slices = []
    for i, (low, high) in enumerate(pairwise(edges)):
        here = (lengths >= low if i == 0 else lengths > low) & (lengths <= high)
        if here.sum() >= FEWEST:
            first = low if i == 0 else low + 1
            slices.append(Slice("length", f"{first} to {high} sub-words", interval(tallies[here], task.score_of)))
    return slices


def _by_label(task: Task, answered: Answered, tallies: Array) -> list[Slice]:
    """Where a row has one label: the rows of each."""
    if not all(isinstance(gold, str) for gold in answered.gold):
        return []
    gold = np.asarray(answered.gold)
    slices = [
        Slice("true label", str(label), interval(tallies[gold == label], task.score_of))
        for label in np.unique(gold)
        if (gold == label).sum() >= FEWEST
    ]
    return sorted(slices, key=lambda one: one.score.score)


def _worst(task: Task, labels: Sequence[str], answered: Answered) -> list[Worst]:
    found = []
    rows = [row for row, count in enumerate(answered.pieces, 1) for _ in range(count)]
    for i, (gold, answer) in enumerate(zip(answered.gold, answered.answers, strict=True)):
        if (wrongness := task.wrongness(gold, answer, labels)) > 0:
            true, said = task.told(gold, answer, labels)
            found.append(Worst(rows[i], answered.texts[i], true, said, wrongness))
    return sorted(found, key=lambda one: (-one.wrongness, one.row))[:WORST]
