"""Questions with the texts that answer them, in the form of SQuAD or with one answer in columns of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.config import DataConfig
from pipelines.data.examples import Question
from pipelines.data.fields import Field
from pipelines.data.kind import ExampleKind
from pipelines.data.labelled import text_of
from pipelines.data.rows import Record, kind_of, quote
from pipelines.errors import UserError


class Questions(ExampleKind):
    """`answers` is `{"text": [...], "answer_start": [...]}`, or `answer` and `start` are columns; none: no answer."""

    fields = (
        Field("question", "the questions", ("question",)),
        Field("context", "the texts that answer", ("context", "passage", "paragraph")),
        Field("answers", "the answers", ("answers",), optional=True),
        Field("answer", "the answer", ("answer", "answer_text"), optional=True),
        Field("start", "where the answer begins", ("start", "answer_start"), optional=True),
    )

    needed = "question with its text"

    def row(self, record: Record, data: DataConfig) -> Question:  # noqa: ARG002
        """A question, its text, and its answers.

        Raises:
            UserError: a text that is missing or is none, or an answer that does not stand where it is said to.
        """
        context = text_of(record, "context", "text that answers")
        answers = tuple(dict.fromkeys(_checked(record, context, *one) for one in _answers(record)))
        return Question(text_of(record, "question", "question"), context, answers)


def _answers(record: Record) -> list[tuple[object, object]]:
    """Text and place of each."""
    if "answers" in record.values:
        found = record.values["answers"]
        texts, starts = (found.get("text"), found.get("answer_start")) if isinstance(found, Mapping) else (None, None)
        if not isinstance(texts, Sequence) or not isinstance(starts, Sequence) or isinstance(texts, str):
            raise UserError(
                f"{record.place}: the answers are {quote(found)} ({kind_of(found)}), where "
                '{"text": ["..."], "answer_start": [17]} belongs; both lists are empty where there is no answer.'
            )
        if len(texts) != len(starts):
            raise UserError(f"{record.place}: {len(texts)} answers have {len(starts)} places. Correct the row.")
        return list(zip(texts, starts, strict=True))
    if record.values.get("answer") in (None, ""):
        return []
    if "start" not in record.values:
        raise UserError(
            f"{record.place}: there is an answer, but no column says where it begins. Add answer_start, or name the "
            "column (data.columns.start)."
        )
    return [(record.values["answer"], record.values["start"])]


def _checked(record: Record, context: str, text: object, start: object) -> tuple[str, int]:
    if record.written and isinstance(start, str) and start.isdecimal() and len(start) < 10:
        start = int(start)
    if isinstance(start, bool) or not isinstance(start, int) or not isinstance(text, str) or text == "":
        raise UserError(
            f"{record.place}: found the answer {quote(text)} at {quote(start)}; an answer is text, and begins at a "
            "whole number of characters. Correct the row."
        )
    if not 0 <= start < len(context) or context[start : start + len(text)] != text:
        raise UserError(
            f"{record.place}: the answer {quote(text)} does not stand at character {_digits(start)} of its text "
            "(counted from 0, in Unicode code points). Correct the place."
        )
    return text, start


def _digits(number: int) -> str:
    return quote(number).strip("'")


QUESTIONS = Questions()
