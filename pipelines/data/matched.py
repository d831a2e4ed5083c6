"""Pairs of texts that belong together: a question and its answer, a query and what should be found."""

from __future__ import annotations

from pipelines.config import DataConfig
from pipelines.data.examples import LabelledText
from pipelines.data.fields import Field
from pipelines.data.kind import ExampleKind
from pipelines.data.labelled import text_of
from pipelines.data.rows import Record


class MatchedTexts(ExampleKind):
    """A text and the one that belongs to it."""

    fields = (
        Field("text", "the texts", ("query", "anchor", "question", "text", "sentence1")),
        Field("pair", "what belongs to them", ("positive", "answer", "passage", "response", "sentence2", "pair")),
    )

    needed = "pair of texts"

    def shown(self, row: LabelledText) -> str:
        return f"{row.text} | {row.pair}"

    def row(self, record: Record, data: DataConfig) -> LabelledText:  # noqa: ARG002
        """Both texts.

        Raises:
            UserError: one that is missing or is none.
        """
        return LabelledText(text_of(record, "text", "text"), text_of(record, "pair", "matching text"))


MATCHED = MatchedTexts()
