"""Texts, or pairs of them, and what is said of each: one label, several, or a number."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Sequence

from pipelines.config import DataConfig
from pipelines.data.examples import LabelledText
from pipelines.data.fields import Field, named
from pipelines.data.kind import ExampleKind
from pipelines.data.rows import Record, kind_of, quote
from pipelines.errors import UserError

TEXT = Field("text", "the texts", ("text", "sentence", "sentence1", "premise", "question"))
PAIR = Field("pair", "the second texts", ("pair", "text_pair", "sentence2", "hypothesis"), optional=True)


class LabelledTexts(ExampleKind):
    """A text, where there is one a second text, and what is said of it."""

    fields = (TEXT, PAIR, Field("label", "the labels", ("label", "labels", "intent", "category")))

    needed = "text with its label"

    def shown(self, row: LabelledText) -> str:
        return row.text if row.pair is None else f"{row.text} | {row.pair}"

    def row(self, record: Record, data: DataConfig) -> LabelledText:  # noqa: ARG002
        """A text or two, also empty ones, with what is said.

        Raises:
            UserError: a text that is missing or is none, or what is said of it is not what this kind has.
        """
        pair = text_of(record, "pair", "second text") if "pair" in record.values else None
        labels, value = self._said(record, record.values["label"])
        return LabelledText(text_of(record, "text", "text"), pair, labels, value)

    def labels_of(self, row: LabelledText) -> tuple[str, ...]:
        return row.labels

    @abstractmethod
    def _said(self, record: Record, found: object) -> tuple[tuple[str, ...], float]:
        """The labels, or the number, that a cell holds."""


class OneLabel(LabelledTexts):
    """Exactly one label."""

    def _said(self, record: Record, found: object) -> tuple[tuple[str, ...], float]:
        return (label_of(record, found),), 0.0


class SeveralLabels(LabelledTexts):
    """Any number of labels, none among them."""

    def _said(self, record: Record, found: object) -> tuple[tuple[str, ...], float]:
        if record.written and isinstance(found, str):
            found = _list(record, found)
        if not isinstance(found, list | tuple):
            raise UserError(
                f"{record.place}: the labels are {quote(found)} ({kind_of(found)}), where a list belongs, which may be "
                "empty. Correct the row, or name the column that holds them (data.columns.label)."
            )
        labels = [label_of(record, one) for one in found]
        if len(set(labels)) < len(labels):
            raise UserError(f"{record.place}: a label occurs twice. Correct the row.")
        return tuple(labels), 0.0


class OneNumber(LabelledTexts):
    """A number: how much, how similar, how many stars."""

    fields = (TEXT, PAIR, Field("label", "the numbers", ("label", "score", "rating", "value", "labels")))

    def _said(self, record: Record, found: object) -> tuple[tuple[str, ...], float]:
        number = found
        if record.written and isinstance(found, str):
            try:
                number = float(found)
            except ValueError:
                number = None
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise UserError(
                f"{record.place}: found {quote(found)} ({kind_of(found)}) where a finite number belongs. Correct the "
                "row, or name the column that holds the numbers (data.columns.label)."
            )
        return (), float(number)


def text_of(record: Record, role: str, what: str) -> str:
    """The text of a role.

    Raises:
        UserError: it is missing, is none, or holds half of a surrogate pair.
    """
    text = record.values[role]
    if not isinstance(text, str):
        raise UserError(
            f"{record.place}: found {quote(text)} ({kind_of(text)}) where a {what} belongs. Write it as text, or name "
            f"the column that holds it (data.columns.{role})."
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{record.place}: the {what} holds half of a surrogate pair, which is no character and which no tokenizer "
            "takes. Write the text anew as UTF-8, or remove this row."
        ) from None
    return text


def label_of(record: Record, found: object) -> str:
    """A label, under its name where the file says what the class numbers stand for.

    Raises:
        UserError: it is missing or is none.
    """
    names: Sequence[str] | None = record.names.get("label")
    if names is not None:
        found = named(found, names, what="label", place=record.place)
    if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
        raise UserError(
            f"{record.place}: found {quote(found)} ({kind_of(found)}) where a label belongs. A label is text or a "
            "whole number: correct the row, or name the column that holds it (data.columns.label)."
        )
    # A number without a name is its own name.
    return found if isinstance(found, str) else quote(found).strip("'")


def _list(record: Record, cell: str) -> object:
    """Labels from a cell: JSON, or separated by spaces."""
    if not cell.lstrip().startswith("["):
        return [part for part in cell.split(" ") if part]
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        raise UserError(
            f"{record.place}: the labels open like a list, but are not valid JSON. Write a JSON list "
            '(["sports", "local"]), or labels separated by spaces.'
        ) from None


ONE_LABEL, SEVERAL_LABELS, ONE_NUMBER = OneLabel(), SeveralLabels(), OneNumber()
