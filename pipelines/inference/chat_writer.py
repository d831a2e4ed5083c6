"""Writes the next message of a chat and tells each piece as soon as it is there."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol

import torch
from jinja2.exceptions import TemplateError
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from pipelines.errors import UserError
from pipelines.inference.predictor import readable

Message = Mapping[str, str]
"""Its `role` and its `content`."""
Say = Callable[[str], bool]
"""Takes the next piece of the text; says whether more is wanted."""


@dataclass(frozen=True, slots=True)
class End:
    """How a text ended."""

    finished: bool
    """Whether the model ended it, rather than the limit."""
    num_new: int
    """Sub-words that were written, the one that ends the text among them."""


class Writer(Protocol):
    """What writes chats; threads may use it at once."""

    def prompt(self, messages: Sequence[Message], most: int | None) -> tuple[list[int], int]: ...

    def write(self, prompt: Sequence[int], most: int, say: Say) -> End: ...


class ChatWriter:
    """Always the likeliest sub-word, as the predictor does; the pieces together are its text."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        *,
        longest: int,
        usual: int,
        ends: Collection[int],
        pad: int,
    ) -> None:
        """
        Args:
            longest: sub-words that the model reads and writes together.
            usual: sub-words that are written at most where nothing is said.
            ends: the sub-words that end a text.
        """
        self._model = model
        # Its own: the predictor's changes its padding state while a batch is made.
        self._tokenizer = copy.deepcopy(tokenizer)
        self._encoding = Lock()
        self._longest, self._usual, self._ends, self._pad = longest, usual, frozenset(ends), pad

    def prompt(self, messages: Sequence[Message], most: int | None) -> tuple[list[int], int]:
        """The sub-words of a chat up to where its next message begins, and how many may be written.

        Raises:
            UserError: the model's template does not take these messages, or there is no room for them.
        """
        said = [{"role": one["role"], "content": readable(one["content"])} for one in messages]
        with self._encoding:
            try:
                text = str(self._tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True))
            except TemplateError as error:
                raise UserError(f"The model's chat template does not take these messages: {error}.") from None
            # The template has written what opens a text.
            ids = list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) or [self._pad]
        room = self._longest - len(ids)
        if room < (most or 1):
            raise UserError(
                f"The messages have {len(ids)} sub-words and {most or 1} more shall be written, but the model reads "
                f"{self._longest} together: send fewer or shorter messages, or ask for less."
            )
        return ids, most or min(self._usual, room)

    def write(self, prompt: Sequence[int], most: int, say: Say) -> End:
        """Write at most `most` sub-words; ends early when `say` wants no more."""
        told = _Told(lambda ids: str(self._tokenizer.decode(ids, **_AS_IT_IS)), say)
        ids = torch.tensor([list(prompt)], device=self._model.device)
        model: Any = self._model
        with torch.inference_mode():
            model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, num_beams=1, max_new_tokens=most,
                pad_token_id=self._pad, streamer=told, stopping_criteria=StoppingCriteriaList([_Enough(told)]),
            )  # fmt: skip
        return End(bool(told.ids) and told.ids[-1] in self._ends, len(told.ids))


_AS_IT_IS = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}


class _Told(BaseStreamer):
    """What `generate` writes, as text without white space around it.

    A piece waits while it ends in the middle of a character, or in white space that may be the text's end.
    """

    def __init__(self, decode: Callable[[list[int]], str], say: Say) -> None:
        self._decode, self._say = decode, say
        self._prompted = False
        self._said = ""
        self.ids: list[int] = []
        self.wanted = True

    def put(self, value: Tensor) -> None:
        # The first that comes is what the text goes on from.
        if not self._prompted:
            self._prompted = True
            return
        self.ids += value.flatten().tolist()
        self._tell(whole=False)

    def end(self) -> None:
        self._tell(whole=True)

    def _tell(self, *, whole: bool) -> None:
        text = self._decode(self.ids).strip()
        if not whole:
            text = text.rstrip("\ufffd")
        if self.wanted and len(text) > len(self._said) and text.startswith(self._said):
            piece, self._said = text[len(self._said) :], text
            self.wanted = self._say(piece)


class _Enough(StoppingCriteria):
    def __init__(self, told: _Told) -> None:
        self._told = told

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Any:  # noqa: ARG002
        return torch.full((len(input_ids),), not self._told.wanted, device=input_ids.device)
