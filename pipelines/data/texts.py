"""Texts to be learnt as they are, and chats of which the answers are learnt."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pipelines.config import DataConfig
from pipelines.data.examples import Chat, Document, Message
from pipelines.data.fields import Field
from pipelines.data.kind import ExampleKind
from pipelines.data.labelled import text_of
from pipelines.data.rows import Record, kind_of, quote
from pipelines.errors import UserError

USER, ASSISTANT = "user", "assistant"


class Texts(ExampleKind):
    """A text; in plain text files a line is one."""

    fields = (Field("text", "the texts", ("text", "sentence", "content", "document")),)
    needed = "text"

    def row(self, record: Record, data: DataConfig) -> Document:  # noqa: ARG002
        """A text, also an empty one.

        Raises:
            UserError: it is missing or is none.
        """
        return Document(text_of(record, "text", "text"))


class TextsAndChats(ExampleKind):
    """Messages, or a prompt with its answer (the shortest chat), or a text: of each row the first that it has."""

    fields = (
        Field("messages", "the messages", ("messages", "conversations", "conversation"), optional=True),
        Field("prompt", "the prompts", ("prompt", "instruction", "question", "query"), optional=True),
        Field("input", "what the prompts are about", ("input", "context"), optional=True),
        Field("answer", "the answers", ("answer", "response", "output", "completion"), optional=True),
        Field("text", "the texts", ("text",), optional=True),
    )

    needed = "text or chat"

    def row(self, record: Record, data: DataConfig) -> Document | Chat:  # noqa: ARG002
        """A text or a chat.

        Raises:
            UserError: a row without any of the three, what is no text or no list of messages, or a chat in which the
                assistant says nothing.
        """
        there = {role for role, value in record.values.items() if value is not None}
        if "messages" in there:
            return Chat(_messages(record))
        if {"prompt", "answer"} <= there:
            prompt, answer = text_of(record, "prompt", "prompt"), text_of(record, "answer", "answer")
            about = text_of(record, "input", "text that a prompt is about") if "input" in there else ""
            asked = f"{prompt}\n\n{about}" if about else prompt
            return Chat((Message(USER, asked), Message(ASSISTANT, answer)))
        if "text" in there:
            return Document(text_of(record, "text", "text"))
        found = ", ".join(sorted(there)) or "nothing"
        raise UserError(
            f"{record.place}: a text, messages, or a prompt with its answer are needed, found {found}. Correct the "
            "row, or name the columns that hold them (data.columns.text, .messages, or .prompt and .answer)."
        )


def _messages(record: Record) -> tuple[Message, ...]:
    found = record.values["messages"]
    if record.written and isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            raise UserError(
                f"{record.place}: the messages are not valid JSON. Write a list such as "
                '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}].'
            ) from None
    if not isinstance(found, list | tuple) or not found:
        raise UserError(
            f"{record.place}: the messages are {quote(found)} ({kind_of(found)}), where a list of at least one "
            "belongs. Correct the row, or name the column that holds them (data.columns.messages)."
        )
    messages = tuple(_message(record, i, one) for i, one in enumerate(found, 1))
    if all(message.role != ASSISTANT for message in messages):
        raise UserError(
            f"{record.place}: none of the messages is the assistant's, so that there is nothing to learn. Correct or "
            f"remove this row; whose answers are learnt has the role {ASSISTANT!r}."
        )
    return messages


def _message(record: Record, number: int, found: object) -> Message:
    place = f"{record.place}, message {number}"
    if not isinstance(found, Mapping):
        raise UserError(f"{place}: found {quote(found)} ({kind_of(found)}) where a role with its content belongs.")
    more = sorted(quote(key) for key, value in found.items() if key not in ("role", "content") and value is not None)
    if more:
        raise UserError(
            f"{place}: beside role and content it holds {', '.join(more[:5])}. Chats are of text alone here: remove it."
        )
    for part in ("role", "content"):
        value = found.get(part)
        if not isinstance(value, str) or not (value or part == "content"):
            raise UserError(
                f"{place}: its {part} is {quote(value)} ({kind_of(value)}), where text belongs. Correct it."
            )
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"{place}: its {part} holds half of a surrogate pair, which is no character and which no tokenizer "
                "takes. Write the text anew as UTF-8, or remove this row."
            ) from None
    return Message(str(found["role"]), str(found["content"]))


TEXTS, TEXTS_AND_CHATS = Texts(), TextsAndChats()
