"""What every protocol of the endpoint stands on: which model is served, and how it is asked."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.exceptions import HTTPException

from pipelines.errors import UserError
from pipelines.inference.audit import note_size
from pipelines.inference.batcher import Overloaded, TooLate
from pipelines.inference.deadlines import note_refused
from pipelines.inference.hiding import Hiding
from pipelines.inference.masking.answers import MaskAsked, Masks
from pipelines.inference.predictor import Predictor, num_characters, takes_media, takes_text, texts_in
from pipelines.traces.spans import child

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answered:
    """What is said to one request."""

    version: str
    """Which version all of it is from."""
    outputs: list[Any | None]
    """For each input; None for one that no version could answer."""


Answer = Callable[[list[Any]], Awaitable[Answered]]
"""Reads inputs."""


@dataclass(frozen=True, slots=True)
class Limits:
    max_inputs: int
    max_characters: int
    """Of all texts of one input together."""
    seconds: float = 600
    """From when a request is let in to the end of its answer."""

    def max_bytes(self, *, media: bool) -> int:
        """Room for one longest input as JSON escapes (12 bytes a character), or 16 MiB of shorter ones, or of files."""
        texts = max(12 * self.max_characters, min(4 * self.max_inputs * self.max_characters, 2**24))
        return 65_536 + (max(texts, 2**24) if media else texts)


@dataclass(frozen=True, slots=True)
class Service:
    """The served model, whatever protocol it is asked by."""

    answer: Answer
    predictor: type[Predictor]
    model: str
    version: Callable[[], str]
    """That is served now."""
    limits: Limits
    hiding: Hiding = field(default_factory=Hiding)
    mask_key: bytes | None = None
    """What reversible tokens are sealed with."""

    @property
    def form(self) -> Any:
        """The type of one input: a text alone is one, too, where nothing else is needed."""
        takes: Any = self.predictor.takes
        return takes | str if takes_text(self.predictor) else takes

    async def outputs(self, given: Sequence[Any], mask: MaskAsked = False) -> Answered:
        """One of `gives` for each input, in their order.

        Args:
            mask: the personal data that is to be masked in them.

        Raises:
            HTTPException: 413 for too much, 422 for what is no input or cannot be masked, 500 where the model failed,
                503 where too much waits.
        """
        inputs = await self.checked(given)
        masks = self.masks(mask)
        found = await self.answered(inputs)
        if masks is None:
            return found
        # Finding takes longer than answering where texts are long.
        pairs = zip(found.outputs, inputs, strict=True)
        with child("mask"):
            hidden = await asyncio.to_thread(lambda: [masks.output(output, one) for output, one in pairs])
        return Answered(found.version, hidden)

    def masks(self, asked: MaskAsked) -> Masks | None:
        """What masks the answer to one request; None where nothing is to be masked.

        Raises:
            HTTPException: 422 for what cannot be masked here.
        """
        try:
            return self.hiding.masks(asked, self.mask_key)
        except UserError as error:
            raise HTTPException(422, str(error)) from None

    async def answered(self, inputs: list[Any]) -> Answered:
        """One of `gives`, unmasked, for each checked input.

        Raises:
            HTTPException: 500 where the model failed, 503 where too much waits.
        """
        try:
            found = await self.answer(inputs)
        except HTTPException:
            raise
        except Overloaded as error:
            if isinstance(error, TooLate):
                note_refused()
            raise HTTPException(503, str(error), {"Retry-After": str(math.ceil(error.seconds))}) from None
        except Exception as error:
            # Neither the message nor the traceback, which a server would log: both may quote a text.
            logger.error("The model failed: %s.", type(error).__name__)
            raise HTTPException(500, "The model failed on this request.") from None
        failed = [str(i) for i, output in enumerate(found.outputs) if output is None]
        if failed:
            raise HTTPException(500, f"The model failed on input {', '.join(failed)} (counted from 0); leave it out.")
        return found

    async def checked(self, given: Sequence[Any]) -> list[Any]:
        """Inputs that the model may see.

        Raises:
            HTTPException: 413 for too much, 422 for what is no input.
        """
        inputs = [self.predictor.takes(one) if isinstance(one, str) else one for one in given]
        note_size(len(inputs), sum(map(num_characters, inputs)))
        if len(inputs) > self.limits.max_inputs:
            most = self.limits.max_inputs
            raise HTTPException(413, f"{len(inputs)} inputs in one request; send at most {most} and repeat.")
        for i, one in enumerate(inputs):
            self._check_texts(f"Input {i}", one)
        # Files are decoded to look at them, which must not hold up others; a thread for a text would cost more.
        look = asyncio.to_thread if takes_media(self.predictor) else _at_once
        for i, one in enumerate(inputs):
            if (trouble := await look(self.predictor.refuses, one)) is not None:
                raise HTTPException(422, f"Input {i}: {trouble}")
        return inputs

    def _check_texts(self, what: str, one: Any) -> None:
        if (length := num_characters(one)) > self.limits.max_characters:
            most = self.limits.max_characters
            raise HTTPException(413, f"{what} has {length} characters; cut it into pieces of at most {most}.")
        for text in texts_in(one):
            refuse_half_characters(what, text)


async def _at_once(refuses: Callable[[Any], str | None], one: Any) -> str | None:
    return refuses(one)


def refuse_half_characters(what: str, text: str) -> None:
    """Half a surrogate pair has no bytes in UTF-8: neither a tokenizer nor an answer can hold it.

    Raises:
        HTTPException: 422 if the text holds one.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise HTTPException(
            422, f"{what} holds half of a surrogate pair, which is no character; leave it out."
        ) from None
