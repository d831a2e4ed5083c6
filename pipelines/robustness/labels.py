"""Texts, or pairs of them, with one label or several: labels stay true whatever becomes of the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.data.examples import LabelledText
from pipelines.data.labelled import ONE_LABEL, SEVERAL_LABELS
from pipelines.inference.class_predictor import Label, Labels, TextOrPair
from pipelines.report.classes import ClassReport, LabelReport, class_report, label_report
from pipelines.report.entities import Score
from pipelines.report.report import Report
from pipelines.robustness.sentence import sentence_of
from pipelines.robustness.subject import Said, Sentences, Subject


class _Texts(Subject):
    of_what = "inputs"

    def sentences(self, row: LabelledText) -> Sentences:
        return tuple(sentence_of(text) for text in (row.text, row.pair) if text is not None)

    def given(self, sentences: Sentences) -> TextOrPair:
        return TextOrPair(*(sentence.text for sentence in sentences))

    def true(self, row: LabelledText) -> str:
        return ", ".join(row.labels) or "nothing"


class OneLabelSubject(_Texts):
    kind = ONE_LABEL

    def flips(self, before: Label, after: Label, changed: Sentences, raw: Sentences) -> list[bool]:  # noqa: ARG002
        return [before.label != after.label]

    def said(self, before: Label, after: Label, changed: Sentences, raw: Sentences) -> list[Said]:  # noqa: ARG002
        """By what was said before."""
        return [(before.label, before.label != after.label)]

    def report(self, rows: Sequence[Any], texts: Sequence[Sentences], answers: Sequence[Any]) -> ClassReport:  # noqa: ARG002
        return class_report([row.labels[0] for row in rows], _scores(answers), list(answers[0].scores))

    def by_label(self, report: Report) -> Mapping[str, Score]:
        assert isinstance(report, ClassReport)
        return report.classes

    def told(self, answer: Label) -> str:
        return f"{answer.label} ({answer.score:.2f})"


class SeveralLabelsSubject(_Texts):
    """An input has flipped if one of its labels has."""

    kind = SEVERAL_LABELS

    def flips(self, before: Labels, after: Labels, changed: Sentences, raw: Sentences) -> list[bool]:  # noqa: ARG002
        return [set(before.labels) != set(after.labels)]

    def said(self, before: Labels, after: Labels, changed: Sentences, raw: Sentences) -> list[Said]:  # noqa: ARG002
        was, now = set(before.labels), set(after.labels)
        return [(label, label in was ^ now) for label in sorted(was | now)]

    def report(self, rows: Sequence[Any], texts: Sequence[Sentences], answers: Sequence[Any]) -> LabelReport:  # noqa: ARG002
        return label_report([row.labels for row in rows], _scores(answers), list(answers[0].scores))

    def by_label(self, report: Report) -> Mapping[str, Score]:
        assert isinstance(report, LabelReport)
        return report.labels

    def told(self, answer: Labels) -> str:
        return ", ".join(f"{label} ({answer.scores[label]:.2f})" for label in answer.labels) or "nothing"


def _scores(answers: Sequence[Any]) -> Any:
    """[rows, labels]."""
    return np.array([list(answer.scores.values()) for answer in answers])
