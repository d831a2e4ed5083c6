"""Why a model says what it says: the share of each sub-word of the input in the score of one output."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from pipelines.errors import UserError
from pipelines.inference.faithfulness import Faithfulness, faithfulness
from pipelines.inference.integrated import integrate
from pipelines.inference.predictor import longest_input

FEWEST_STEPS, USUAL_STEPS, MOST_STEPS = 8, 64, 256
"""Passes forwards and backwards for one explanation."""
LONGEST = 256
"""Sub-words of an input that is explained: an explanation takes as long as some hundred predictions."""

Score = Callable[[Tensor], Tensor]
"""From the model's logits of some rows, the score that is explained, [rows]."""


@dataclass(frozen=True, slots=True)
class Token:
    """A sub-word, where it stands, and what it does for the score."""

    field: str
    """Which text of the input it is in."""
    start: int
    """Its text is `input.field[start:end]`, in Unicode code points."""
    end: int
    text: str
    attribution: float


@dataclass(frozen=True, slots=True)
class Explained:
    target: str
    """What is explained: a label, or an entity's type."""
    score: float
    """What the model gives it."""
    blank_score: float
    """What it gives it when every sub-word is blank; the attributions add up to the difference."""
    tokens: list[Token]
    """All sub-words that the model reads, in their order, but for its special ones."""
    convergence_error: float
    """The sum of the attributions less that difference: what integrating in steps lost."""
    steps: int
    faithfulness: Faithfulness


@dataclass(frozen=True, slots=True)
class Read:
    """One input as the model reads it."""

    row: dict[str, Tensor]
    """What the tokenizer gives for it, each [1, length]."""
    places: Sequence[tuple[str, int, int] | None]
    """Of each sub-word its text and its place there; None of a special one."""
    words: Sequence[int | None] = ()
    """And the number of its word, where the model reads words."""


class Explainer(ABC):
    """By integrated gradients from the input with every sub-word blank: the mask's, else the padding's."""

    def __init__(self, model: nn.Module, tokenizer: PreTrainedTokenizerFast) -> None:
        self._model: Any = model
        # Its own, for it works beside the predictor, whose changes its padding state while a batch is made.
        self._tokenizer = copy.deepcopy(tokenizer)
        self._limit = min(LONGEST, longest_input(self._model, tokenizer))
        blanks = [tokenizer.mask_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id]
        self._blank = next((one for one in blanks if isinstance(one, int)), None)

    def explain(self, given: Any, target: str | int | None = None, *, steps: int = USUAL_STEPS) -> Explained:
        """Say why, of one of the predictor's inputs.

        Raises:
            UserError: the input is too long or empty, or there is no such target in it.
        """
        read = self._read(given)
        ids = read.row["input_ids"]
        free = [i for i, place in enumerate(read.places) if place is not None]
        if (nothing := self._blank) is None:
            raise UserError("The tokenizer has neither a mask nor padding to put in the place of words: it needs one.")
        if (length := ids.shape[1]) > self._limit:
            raise UserError(f"The input has {length} sub-words, and {self._limit} can be explained: send a part of it.")
        if not free:
            raise UserError("The input has no sub-word to explain by: send a text.")
        with torch.inference_mode():
            name, score = self._target(given, read, self._logits(read, ids), target)
        blank = ids.clone()
        blank[0, free] = nothing

        def scored(rows: Tensor) -> Tensor:
            with torch.inference_mode():
                return score(self._logits(read, rows))

        def scored_vectors(vectors: Tensor) -> Tensor:
            return score(self._logits_of_vectors(read, vectors))

        shares, error = integrate(self._model, ids, blank, scored_vectors, steps=steps)
        whole, none = scored(torch.cat([ids, blank])).tolist()
        return Explained(
            name, whole, none, [self._token(given, read.places[i], shares[i]) for i in free], error, steps,
            faithfulness(scored, ids[0], [shares[i] for i in free], free, nothing),
        )  # fmt: skip

    @abstractmethod
    def _read(self, given: Any) -> Read:
        """The whole input, however long it is."""

    @abstractmethod
    def _target(self, given: Any, read: Read, logits: Tensor, target: str | int | None) -> tuple[str, Score]:
        """What is explained, and its score, from the logits of this input [1, ...].

        Raises:
            UserError: there is no such target.
        """

    def _logits(self, read: Read, rows: Tensor) -> Tensor:
        """Of the input with other sub-words [rows, length] in their places."""
        return self._run(read, len(rows), input_ids=rows)

    def _logits_of_vectors(self, read: Read, vectors: Tensor) -> Tensor:
        """The same of their embeddings [rows, length, width]."""
        return self._run(read, len(vectors), inputs_embeds=vectors)

    def _run(self, read: Read, rows: int, **inputs: Tensor) -> Tensor:
        beside = {name: one.expand(rows, -1) for name, one in read.row.items() if name != "input_ids"}
        logits: Tensor = self._model(**inputs, **beside).logits.float()
        return logits

    def _token(self, given: Any, place: tuple[str, int, int] | None, share: float) -> Token:
        assert place is not None
        field, start, end = place
        return Token(field, start, end, getattr(given, field)[start:end], share)
