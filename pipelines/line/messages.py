"""What goes over the line between a front and a worker: JSON behind its length, so that it cannot make anything run.

front --Asked-->     worker
      <--Answered--  or Failed, in any order
      <--Leaving--   once, when the worker takes on nothing more
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

MOST_BYTES = 2**28
"""Of one message: far more than a request may bring."""
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Asked:
    """One pass through a model."""

    number: int
    """By which its answer is known; of this line's passes no other has it."""
    uri: str
    """Of the model."""
    inputs: list[Any]
    """As `plain` makes them of what the model takes."""
    version: str
    """For traces, as of `Traced`."""
    traceparents: list[str]
    kind: Literal["asked"] = "asked"


@dataclass(frozen=True, slots=True)
class Answered:
    """What a worker found."""

    number: int
    outputs: list[Any]
    """As `plain` makes them of what the model gives; None for an input that the model failed on."""
    lengths: list[int]
    """Sub-words of each input."""
    seconds: float
    """That the worker took."""
    kind: Literal["answered"] = "answered"


@dataclass(frozen=True, slots=True)
class Failed:
    """A pass that the worker could not compute."""

    number: int
    why: str
    """The kind of the error; its message may quote what was asked."""
    kind: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True)
class Leaving:
    """The worker takes on nothing more; what it has it answers."""

    kind: Literal["leaving"] = "leaving"


Message = Annotated[Asked | Answered | Failed | Leaving, Field(discriminator="kind")]
_MESSAGES: TypeAdapter[Any] = TypeAdapter(Message)


def frame(message: Asked | Answered | Failed | Leaving) -> bytes:
    """A message as it goes over the line.

    Raises:
        ValueError: it is longer than may be sent.
    """
    body = json.dumps({name: getattr(message, name) for name in message.__slots__}).encode()
    if len(body) > MOST_BYTES:
        raise ValueError(f"a message of {len(body)} bytes is longer than the {MOST_BYTES} that may be sent")
    return _LENGTH.pack(len(body)) + body


async def receive(reader: asyncio.StreamReader) -> Asked | Answered | Failed | Leaving:
    """The next message.

    Raises:
        OSError: the line is broken.
        EOFError: the other end has closed it.
        ValueError: what came is no message.
    """
    (size,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if size > MOST_BYTES:
        raise ValueError(f"a message of {size} bytes is announced, and {MOST_BYTES} may be sent")
    message: Asked | Answered | Failed | Leaving = _MESSAGES.validate_python(json.loads(await reader.readexactly(size)))
    return message


def plain(values: Sequence[Any | None], kind: type) -> list[Any]:
    """Dataclasses of one kind, or None, as JSON can write them."""
    made: list[Any] = _form(kind).dump_python(list(values))
    return made


def typed(values: Sequence[Any], kind: type) -> list[Any | None]:
    """What `plain` was given.

    Raises:
        ValueError: they are of another kind.
    """
    read: list[Any | None] = _form(kind).validate_python(values)
    return read


@lru_cache(maxsize=64)
def _form(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(list[kind | None])  # type: ignore[valid-type]  # known only when it runs
