"""Models that write: chats and texts that go on, translations and summaries. Always the likeliest sub-word."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel, PreTrainedTokenizerFast

from pipelines.inference.facts import read_facts
from pipelines.inference.predictor import TOKENS_PER_PASS, Predictor, read_model, readable

if TYPE_CHECKING:
    from pipelines.inference.chat_writer import Writer

MOST = 1024
"""New sub-words that may be asked for."""
USUAL = 128
"""New sub-words at most where nothing is said of it."""
LONGEST = 4096
"""Sub-words that a model reads which names no limit of its own."""


@dataclass(frozen=True, slots=True)
class Prompt:
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    text: str
    max_new_tokens: Annotated[int, Field(ge=1, le=MOST)] = USUAL
    """Sub-words that are written at most."""


@dataclass(frozen=True, slots=True)
class Written:
    text: str
    finished: bool
    """Whether the model ended it, rather than `max_new_tokens` or the longest text that it reads."""
    left_out: int
    """Sub-words of the input that did not fit."""


class TextPredictor(Predictor):
    takes, gives, hello = Prompt, Written, Prompt("Hello", 1)

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
        self._model, self._tokenizer = model.eval(), tokenizer
        self._longest = _longest(model, tokenizer)

    def predict(self, inputs: Sequence[Prompt]) -> list[Written]:
        rows = [self._ids(readable(given.text)) for given in inputs]
        room = [self._room(given) for given in inputs]
        kept = [self._cut(row, most) for row, most in zip(rows, room, strict=True)]
        found: dict[int, Written] = {}
        for numbers in self._together(inputs, kept):
            # All of them are as long, and asked for as many new sub-words.
            first = numbers[0]
            written = self._write([kept[n] for n in numbers], self._most(inputs[first], len(kept[first])))
            for n, ids in zip(numbers, written, strict=True):
                text = str(self._tokenizer.decode(ids, skip_special_tokens=True)).strip()
                found[n] = Written(text, self._ends(ids), len(rows[n]) - len(kept[n]))
        return [found[i] for i in range(len(inputs))]

    @abstractmethod
    def _ids(self, text: str) -> list[int]:
        """The input's sub-words."""

    @abstractmethod
    def _room(self, given: Prompt) -> int:
        """How many of them there is room for."""

    @abstractmethod
    def _cut(self, ids: list[int], room: int) -> list[int]:
        """What is kept of them."""

    @abstractmethod
    def _most(self, given: Prompt, width: int) -> int:
        """New sub-words, of those asked for, that there are positions for behind `width` that are kept."""

    @abstractmethod
    def _new(self, written: Tensor, width: int) -> Tensor:
        """Of what `generate` gives for inputs of `width` sub-words the new ones, [rows, new]."""

    def _together(self, inputs: Sequence[Prompt], rows: Sequence[list[int]]) -> list[list[int]]:
        """Inputs of one length that ask for as much: nothing is padded, so that no row depends on another."""
        groups: dict[tuple[int, int], list[int]] = {}
        for n, (given, row) in enumerate(zip(inputs, rows, strict=True)):
            groups.setdefault((len(row), given.max_new_tokens), []).append(n)
        found = []
        for (length, new), numbers in groups.items():
            most = max(1, TOKENS_PER_PASS // (length + new))
            found += [numbers[at : at + most] for at in range(0, len(numbers), most)]
        return found

    def _write(self, rows: Sequence[list[int]], most: int) -> list[list[int]]:
        ids = torch.tensor(rows, device=self._model.device)
        model: Any = self._model
        with torch.inference_mode():
            written = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, num_beams=1,
                max_new_tokens=most, pad_token_id=self._pad,
            )  # fmt: skip
        return [self._until_end(row.tolist()) for row in self._new(written, ids.shape[1])]

    def _until_end(self, ids: list[int]) -> list[int]:
        """Behind its end a row is filled up to the length of the others."""
        ends = [at for at, one in enumerate(ids) if one in self._end_ids]
        return ids[: ends[0] + 1] if ends else ids

    def _ends(self, ids: list[int]) -> bool:
        return bool(ids) and ids[-1] in self._end_ids

    @property
    def _end_ids(self) -> frozenset[int]:
        config: Any = self._model.generation_config
        ends = config.eos_token_id
        return frozenset([] if ends is None else ends if isinstance(ends, list) else [ends])

    @property
    def _pad(self) -> int:
        pad = self._tokenizer.pad_token_id
        return pad if isinstance(pad, int) else min(self._end_ids, default=0)


class ChatPredictor(TextPredictor):
    """A model that learnt from chats answers; one that learnt from texts goes on with what it is given.

    What is too long loses its beginning.
    """

    asks = "Answers what is said; a model that learnt from plain texts goes on with a text."
    example: ClassVar = (
        {"text": "Where is Oslo?", "max_new_tokens": 32},
        {"text": "In Norway.", "finished": True, "left_out": 0},
    )

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, *, chats: bool) -> None:
        super().__init__(model, tokenizer)
        self._chats = chats

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", threads: int) -> ChatPredictor:
        model, tokenizer = read_model(folder, AutoModelForCausalLM, device=device, threads=threads)
        return cls(model, tokenizer, chats=bool(read_facts(folder).get("chats")))

    def writer(self) -> Writer | None:
        if not self._chats:
            return None
        # Imported here: a registered model brings this file along, and answers without that one.
        from pipelines.inference.chat_writer import ChatWriter

        return ChatWriter(
            self._model, self._tokenizer, longest=self._longest, usual=USUAL, ends=self._end_ids, pad=self._pad
        )

    def _ids(self, text: str) -> list[int]:
        if self._chats:
            said = [{"role": "user", "content": text}]
            text = str(self._tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True))
        # The template has written what opens a text.
        ids = self._tokenizer(text, add_special_tokens=not self._chats, verbose=False)["input_ids"]
        if not self._chats and ids[-1:] and ids[-1] in self._end_ids:
            ids = ids[:-1]
        return list(ids) or [self._pad]

    def _room(self, given: Prompt) -> int:
        return max(1, self._longest - given.max_new_tokens)

    def _cut(self, ids: list[int], room: int) -> list[int]:
        return ids[-room:]

    def _most(self, given: Prompt, width: int) -> int:
        return min(given.max_new_tokens, max(1, self._longest - width))

    def _new(self, written: Tensor, width: int) -> Tensor:
        return written[:, width:]


class TranslationPredictor(TextPredictor):
    """A text that is too long loses its end."""

    asks = "Writes the text that belongs to a text: its translation, its summary, or what else the model has learnt."
    example: ClassVar = (
        {"text": "Good morning", "max_new_tokens": 32},
        {"text": "早上好", "finished": True, "left_out": 0},
    )

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", threads: int) -> TranslationPredictor:
        return cls(*read_model(folder, AutoModelForSeq2SeqLM, device=device, threads=threads))

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, verbose=False)["input_ids"]) or [self._pad]

    def _room(self, given: Prompt) -> int:  # noqa: ARG002
        return self._longest

    def _cut(self, ids: list[int], room: int) -> list[int]:
        # The mark at the end stays.
        return ids if len(ids) <= room else [*ids[: room - 1], ids[-1]]

    def _most(self, given: Prompt, width: int) -> int:  # noqa: ARG002
        # A model that knows no places, such as T5, writes on and on. What the decoder begins with has one, too.
        places = getattr(self._model.config, "max_position_embeddings", None)
        return given.max_new_tokens if places is None else min(given.max_new_tokens, int(places) - 1)

    def _new(self, written: Tensor, width: int) -> Tensor:  # noqa: ARG002
        # What the decoder begins with is no new one.
        return written[:, 1:]


def _longest(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> int:
    config: Any = model.config
    limits = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions")]
    return min([LONGEST, int(min(tokenizer.model_max_length, LONGEST)), *(int(one) for one in limits if one)])
