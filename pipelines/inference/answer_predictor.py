"""Fine-tuned readers that answer a question with a piece of a text, or say that it is not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import AutoModelForQuestionAnswering, PreTrainedModel, PreTrainedTokenizerFast

from pipelines.data.windows import LONGEST_ANSWER, Window, windows
from pipelines.inference.predictor import Predictor, longest_input, passes, read_model, readable


@dataclass(frozen=True, slots=True)
class Question:
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    question: str
    context: str


@dataclass(frozen=True, slots=True)
class Answer:
    answer: str | None
    """A piece of the context; nothing where it does not answer."""
    start: int | None
    """`context[start:end]` is the answer, in Unicode code points."""
    end: int | None
    score: float
    """The probability of it, in the part of the context where it stands."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What a part of a context says."""

    strength: float
    """The logits of the likeliest piece."""
    start: int
    end: int
    score: float
    none: float
    """The logits of there being no answer."""
    none_score: float


class AnswerPredictor(Predictor):
    """A context that is too long is read in parts that share a quarter; the strongest answer of all parts is given."""

    takes, gives, hello = Question, Answer, Question("Who?", "Ann.")
    asks = "Answers a question with a piece of a text."
    example: ClassVar = (
        {"question": "Where is Ann?", "context": "Ann moved to Oslo."},
        {"answer": "Oslo", "start": 13, "end": 17, "score": 0.97},
    )

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
        self._model, self._tokenizer = model.eval(), tokenizer
        self._limit = longest_input(model, tokenizer)

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", threads: int) -> AnswerPredictor:
        return cls(*read_model(folder, AutoModelForQuestionAnswering, device=device, threads=threads))

    def predict(self, inputs: Sequence[Question]) -> list[Answer]:
        parts = [(n, window) for n, given in enumerate(inputs) for window in self._windows(given)]
        found: dict[int, list[_Found]] = {}
        for numbers in passes([len(window.places) for _, window in parts]):
            chosen = [parts[at] for at in numbers]
            for (n, _), one in zip(chosen, self._read([window for _, window in chosen]), strict=True):
                found.setdefault(n, []).append(one)
        return [_best(given, found[n]) for n, given in enumerate(inputs)]

    def _windows(self, given: Question) -> list[Window]:
        return windows(self._tokenizer, readable(given.question), readable(given.context), self._limit)

    def _read(self, parts: Sequence[Window]) -> list[_Found]:
        padded = self._tokenizer.pad([part.columns for part in parts], return_tensors="pt").to(self._model.device)
        with torch.inference_mode():
            output = self._model(**padded)
        both = output.start_logits.float().cpu(), output.end_logits.float().cpu()
        return [_found(part, *(logits[n] for logits in both)) for n, part in enumerate(parts)]


def _found(part: Window, start: Tensor, end: Tensor) -> _Found:
    """The likeliest piece of a part, from the logits of its sub-words [length, or more with padding]."""
    length = len(part.places)
    start, end = start[:length], end[:length]
    sums = float(start.logsumexp(0) + end.logsumexp(0))
    outside = torch.from_numpy(~part.inside)
    pieces = start.masked_fill(outside, -torch.inf)[:, None] + end.masked_fill(outside, -torch.inf)[None, :]
    allowed = torch.ones(length, length, dtype=torch.bool).triu().tril(LONGEST_ANSWER - 1)
    strength, at = pieces.masked_fill(~allowed, -torch.inf).flatten().max(0)
    first, last = divmod(int(at), length)
    none = float(start[0] + end[0])
    probabilities = torch.tensor([float(strength) - sums, none - sums]).exp().tolist()
    begin, finish = int(part.places[first, 0]), int(part.places[last, 1])
    return _Found(float(strength), begin, finish, probabilities[0], none, probabilities[1])


def _best(given: Question, found: Sequence[_Found]) -> Answer:
    """No answer, if every part finds that likelier than the best piece of all."""
    best = max(found, key=lambda one: one.strength)
    silent = min(found, key=lambda one: one.none)
    if silent.none >= best.strength:
        return Answer(None, None, None, silent.none_score)
    return Answer(given.context[best.start : best.end], best.start, best.end, best.score)
