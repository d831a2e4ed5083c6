"""What a perturbation test needs to know of a task: its texts, what is said of them, and when two answers are alike.

A new task is a file beside this one, and one line in SUBJECTS.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.data.kind import ExampleKind
from pipelines.report.entities import Score
from pipelines.report.report import Report
from pipelines.robustness.sentence import Sentence

Sentences = tuple[Sentence, ...]
"""The texts of one row: one, or the two of a pair."""
Said = tuple[str, bool]
"""A label that was said of a text, or of a place in it, and whether that has changed."""


class Subject(ABC):
    """One instance a task."""

    kind: ExampleKind
    of_what: str
    """What flips, as a reader calls it: `inputs`, `entities`."""

    @abstractmethod
    def sentences(self, row: Any) -> Sentences:
        """The texts of a labelled row."""

    @abstractmethod
    def given(self, sentences: Sentences) -> Any:
        """The predictor's input."""

    def entities(self, rows: Sequence[Sentences]) -> Mapping[str, Sequence[Sequence[str]]] | None:  # noqa: ARG002
        """By type, the words of each entity that is labelled; None where texts have none."""
        return None

    @abstractmethod
    def flips(self, before: Any, after: Any, changed: Sentences, raw: Sentences) -> list[bool]:
        """Of everything that the predictor said of a row before or after it was changed, whether only one of them."""

    @abstractmethod
    def said(self, before: Any, after: Any, changed: Sentences, raw: Sentences) -> list[Said]:
        """The same by label."""

    @abstractmethod
    def report(self, rows: Sequence[Any], texts: Sequence[Sentences], answers: Sequence[Any]) -> Report:
        """The task's own scores.

        Args:
            rows: as they are labelled.
            texts: what the predictor read of each.
            answers: its outputs.
        """

    @abstractmethod
    def by_label(self, report: Report) -> Mapping[str, Score]:
        """Of a report of this task the score of every label."""

    @abstractmethod
    def true(self, row: Any) -> str:
        """What is true of a row, for a person to read."""

    @abstractmethod
    def told(self, answer: Any) -> str:
        """What the predictor said, for a person to read."""
