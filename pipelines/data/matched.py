"""Pairs of texts that belong together: a question and its answer, a query and what should be found."""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.config import DataConfig
from pipelines.data.examples import LabelledText, Table
from pipelines.data.fields import Field
from pipelines.data.kind import ExampleKind
from pipelines.data.labelled import text_of
from pipelines.data.rows import Record
from pipelines.errors import UserError


class MatchedTexts(ExampleKind):
    """A text and the one that belongs to it."""

    fields = (
        Field("text", "the texts", ("query", "anchor", "question", "text", "sentence1")),
        Field("pair", "what belongs to them", ("positive", "answer", "passage", "response", "sentence2", "pair")),
    )

    def shown(self, row: LabelledText) -> str:
        return f"{row.text} | {row.pair}"

    def table(self, records: Iterable[Record], *, source: str, data: DataConfig) -> Table[LabelledText]:  # noqa: ARG002
        """Check rows and keep them all.

        Raises:
            UserError: a text that is missing or is none, or no rows.
        """
        rows = [LabelledText(text_of(one, "text", "text"), text_of(one, "pair", "matching text")) for one in records]
        if not rows:
            raise UserError(f"{source} holds no rows: at least one pair of texts is needed. Give another file.")
        return Table(rows)


MATCHED = MatchedTexts()
