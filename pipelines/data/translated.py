"""Texts and what is to be written of each: its translation, its summary, an answer."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.config import DataConfig
from pipelines.data.examples import Translated
from pipelines.data.fields import Columns, Field
from pipelines.data.kind import ExampleKind
from pipelines.data.labelled import text_of
from pipelines.data.rows import Record, kind_of, quote
from pipelines.errors import UserError

SOURCE = Field("source", "the texts", ("source", "src", "document", "article", "dialogue", "text"))
TARGET = Field("target", "what is to be written", ("target", "tgt", "summary", "highlights"))


class TranslatedTexts(ExampleKind):
    """A text and its target.

    One column may hold both, by language: `data.columns={source: translation.en, target: translation.zh}` is for rows
    such as `{"translation": {"en": ..., "zh": ...}}`.
    """

    fields = (SOURCE, TARGET)

    needed = "text with its target"

    def columns(self, data: DataConfig) -> Columns:
        return Columns(self.fields, {role: _parts(name)[0] for role, name in data.columns.items()})

    def row(self, record: Record, data: DataConfig) -> Translated:
        """Both texts, also empty ones.

        Raises:
            UserError: a text that is missing or is none.
        """
        inner = {role: _parts(name)[1] for role, name in data.columns.items()}
        return Translated(_text(record, "source", "text", inner), _text(record, "target", "text to be written", inner))


def _parts(name: str | int) -> tuple[str, str]:
    """A column, and which part of its cells, if not all."""
    column, _, part = str(name).partition(".")
    return column, part


def _text(record: Record, role: str, what: str, inner: Mapping[str, str]) -> str:
    part = inner.get(role)
    if not part:
        return text_of(record, role, what)
    found = record.values[role]
    if not isinstance(found, Mapping) or part not in found:
        parts = ", ".join(quote(key) for key in list(found)[:20]) if isinstance(found, Mapping) else kind_of(found)
        raise UserError(
            f"{record.place}: there is no {quote(part)} for the {what}, found {parts}. Correct the row, or "
            f"data.columns.{role}."
        )
    return text_of(Record({role: found[part]}, record.file, record.number, record.counted), role, what)


TRANSLATED = TranslatedTexts()
