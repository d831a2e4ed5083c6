"""The next message of a chat, piece by piece, from wherever the model is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from pipelines.inference.aside import Aside
from pipelines.inference.chat_writer import End, Message, Writer

AT_ONCE, WAITING = 4, 64
"""Chats that a worker writes at once, and that wait for one of these to end."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The messages were read."""

    num_prompt: int
    """Their sub-words."""


Write = Callable[[Sequence[Message], int | None], AsyncGenerator[Begun | str | End]]
"""Of messages and the most sub-words to write: that they were read, then pieces of the text, then how it ended.

The first step raises UserError for what the model cannot go on from, and BusyError where too many wait. Closing it ends
the writing."""


def in_threads(writer: Writer) -> Write:
    """A few at a time, beside the predictions."""
    aside = Aside(at_once=AT_ONCE, waiting=WAITING)

    async def write(messages: Sequence[Message], most: int | None) -> AsyncGenerator[Begun | str | End]:
        prompt, room = await aside.run(lambda: writer.prompt(messages, most))
        yield Begun(len(prompt))
        async with aclosing(aside.pieces(lambda say: writer.write(prompt, room, say))) as pieces:
            async for piece in pieces:
                yield piece

    return write
