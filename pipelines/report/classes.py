"""How well texts, or anything else, were told apart: one label each, or any number of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.data.examples import Array
from pipelines.report.entities import Score, metric_names

MOST = 40
"""Classes of which a picture of the confusion still shows something."""


@dataclass(frozen=True, slots=True)
class ClassReport:
    """One label each."""

    accuracy: float
    macro_f1: float
    """Mean of the classes' F1; a class that is neither there nor predicted counts with 0."""
    classes: Mapping[str, Score]
    """By name, in the order of the model's classes."""
    confusion: tuple[tuple[int, ...], ...]
    """`confusion[gold][predicted]`: rows."""

    @property
    def score(self) -> float:
        return self.accuracy

    @property
    def score_name(self) -> str:
        return "accuracy"

    def metrics(self, prefix: str) -> dict[str, float]:
        safe = metric_names(self.classes)
        each = {f"{prefix}/{safe[name]}/f1": score.f1 for name, score in self.classes.items()}
        return {f"{prefix}/accuracy": self.accuracy, f"{prefix}/macro_f1": self.macro_f1} | each

    def table(self) -> str:
        return _table("class", self.classes, [f"accuracy {self.accuracy:.4f}, macro F1 {self.macro_f1:.4f}"])

    def to_json(self) -> dict[str, Any]:
        return {
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "classes": {name: asdict(score) for name, score in self.classes.items()},
            "confusion": {"names": list(self.classes), "matrix": [list(row) for row in self.confusion]},
        }

    def draw(self, folder: Path) -> None:
        """`confusion.png`: of many classes those that are confused most often."""
        from pipelines.report.pictures import confusion_matrix

        names, matrix = list(self.classes), np.asarray(self.confusion)
        if len(names) > MOST:
            wrong = matrix.sum(0) + matrix.sum(1) - 2 * matrix.diagonal()
            chosen = sorted(np.argsort(-wrong, kind="stable")[:MOST])
            names, matrix = [names[i] for i in chosen], matrix[np.ix_(chosen, chosen)]
        confusion_matrix(folder / "confusion.png", names, matrix.tolist())


@dataclass(frozen=True, slots=True)
class LabelReport:
    """Any number of labels each; a label is said where its probability is at least one half."""

    micro: Score
    """Over all labels of all rows."""
    macro_f1: float
    exact: float
    """Share of the rows of which all labels are right, and no other is said."""
    labels: Mapping[str, Score]

    @property
    def score(self) -> float:
        return self.micro.f1

    @property
    def score_name(self) -> str:
        return "micro F1"

    def metrics(self, prefix: str) -> dict[str, float]:
        safe = metric_names(self.labels)
        each = {f"{prefix}/{safe[name]}/f1": score.f1 for name, score in self.labels.items()}
        totals = {"micro_f1": self.micro.f1, "macro_f1": self.macro_f1, "exact": self.exact}
        return {f"{prefix}/{name}": value for name, value in totals.items()} | each

    def table(self) -> str:
        totals = f"micro F1 {self.micro.f1:.4f}, macro F1 {self.macro_f1:.4f}, all labels right {self.exact:.4f}"
        return _table("label", self.labels, [totals])

    def to_json(self) -> dict[str, Any]:
        return {
            "micro": asdict(self.micro),
            "macro_f1": self.macro_f1,
            "exact": self.exact,
            "labels": {name: asdict(score) for name, score in self.labels.items()},
        }

    def draw(self, folder: Path) -> None:
        """Nothing: labels that go together have no confusion."""


def class_report(gold: Sequence[str], probabilities: Array, labels: Sequence[str]) -> ClassReport:
    """Compare the likeliest class of each row with the true one.

    Args:
        gold: label of each row; one that the model does not know counts as wrong.
        probabilities: [rows, classes]; any figures that are largest where the model says it is.
        labels: of the classes.
    """
    number = {label: i for i, label in enumerate(labels)}
    matrix = np.zeros((len(labels), len(labels)), int)
    for label, best in zip(gold, probabilities.argmax(-1), strict=True):
        matrix[number[label], best] += 1
    right = matrix.diagonal()
    scores = _scores(right, matrix.sum(0), matrix.sum(1), labels)
    return ClassReport(
        accuracy=float(right.sum() / max(1, len(gold))),
        macro_f1=float(np.mean([score.f1 for score in scores.values()])),
        classes=scores,
        confusion=tuple(tuple(int(count) for count in row) for row in matrix),
    )


def label_report(gold: Sequence[Sequence[str]], probabilities: Array, labels: Sequence[str]) -> LabelReport:
    """Compare the labels that are likelier than not with the true ones.

    Args:
        gold: labels of each row.
        probabilities: [rows, labels], each from 0 to 1.
        labels: of the columns.
    """
    number = {label: i for i, label in enumerate(labels)}
    there = np.zeros(probabilities.shape, bool)
    for row, known in enumerate(gold):
        there[row, [number[label] for label in known]] = True
    said = probabilities >= 0.5
    right = (there & said).sum(0)
    scores = _scores(right, said.sum(0), there.sum(0), labels)
    return LabelReport(
        micro=Score.of(correct=int(right.sum()), predicted=int(said.sum()), support=int(there.sum())),
        macro_f1=float(np.mean([score.f1 for score in scores.values()])),
        exact=float((there == said).all(-1).mean()),
        labels=scores,
    )


def _scores(right: Array, predicted: Array, support: Array, labels: Sequence[str]) -> dict[str, Score]:
    counts = zip(labels, right, predicted, support, strict=True)
    return {
        name: Score.of(correct=int(correct), predicted=int(said), support=int(there))
        for name, correct, said, there in counts
    }


def _table(what: str, scores: Mapping[str, Score], totals: Sequence[str]) -> str:
    width = max(len(name) for name in (*scores, what))
    lines = [f"{what:<{width}}  precision  recall      F1  support"]
    for name, score in scores.items():
        shares = f"{score.precision:>9.4f}  {score.recall:.4f}  {score.f1:.4f}"
        lines.append(f"{name:<{width}}  {shares}  {score.support:>7}")
    return "\n".join([*lines, *totals])
