"""Masked language models, which say what stands where a text has a gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from transformers import AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerFast

from pipelines.errors import UserError
from pipelines.inference.predictor import Predictor, Text, longest_input, passes, read_model, readable

GAP = "[MASK]"
"""How any model's gap may be written, beside its own way."""
MOST = 5


@dataclass(frozen=True, slots=True)
class Guess:
    text: str
    """A sub-word."""
    score: float
    """Its probability."""


@dataclass(frozen=True, slots=True)
class Guesses:
    gaps: list[list[Guess]]
    """For each gap in the order of the text the likeliest sub-words, the first the likeliest."""


class MaskPredictor(Predictor):
    """Gaps behind the longest input of the model get no guesses: an empty list."""

    takes, gives, hello = Text, Guesses, Text(GAP)
    asks = f"Says what stands where a text has a gap, written {GAP}."
    example: ClassVar = (
        {"text": f"Oslo is the {GAP} of Norway."},
        {"gaps": [[{"text": "capital", "score": 0.93}, {"text": "centre", "score": 0.02}]]},
    )

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
        if tokenizer.mask_token is None:
            raise UserError("The tokenizer has no mask token: it is not of a masked language model.")
        self._model, self._tokenizer = model.eval(), tokenizer
        self._limit = longest_input(model, tokenizer)

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", threads: int) -> MaskPredictor:
        return cls(*read_model(folder, AutoModelForMaskedLM, device=device, threads=threads))

    def predict(self, inputs: Sequence[Text]) -> list[Guesses]:
        mask, number = str(self._tokenizer.mask_token), self._tokenizer.mask_token_id
        texts = [readable(given.text).replace(GAP, mask) for given in inputs]
        rows = [self._tokenizer(text, truncation=True, max_length=self._limit) for text in texts]
        found: dict[int, list[list[Guess]]] = {}
        for numbers in passes([len(row["input_ids"]) for row in rows]):
            padded = self._tokenizer.pad([rows[n] for n in numbers], return_tensors="pt").to(self._model.device)
            with torch.inference_mode():
                logits = self._model(**padded).logits[:, -padded["input_ids"].shape[1] :].float()
            for n, row, ids in zip(numbers, logits, padded["input_ids"], strict=True):
                found[n] = [self._guesses(one) for one in row[ids == number].softmax(-1).cpu()]
        missing = [text.count(mask) - len(found[n]) for n, text in enumerate(texts)]
        return [Guesses(found[n] + [[] for _ in range(missing[n])]) for n in range(len(inputs))]

    def _guesses(self, probabilities: torch.Tensor) -> list[Guess]:
        scores, ids = probabilities.topk(min(MOST, len(probabilities)))
        return [
            Guess(str(self._tokenizer.decode([i])).strip(), score)
            for i, score in zip(ids.tolist(), scores.tolist(), strict=True)
        ]
