"""Fine-tuned encoders that give a text its vector: what belongs together is near."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerFast

from pipelines.inference.predictor import Predictor, Text, longest_input, passes, read_model, readable


@dataclass(frozen=True, slots=True)
class Vector:
    vector: list[float]
    """Of length 1, so that the sum of products with another is the cosine."""


class VectorPredictor(Predictor):
    """The mean of the last hidden states; a text is read up to the longest input of the model."""

    takes, gives, hello = Text, Vector, Text("Hello")
    asks = "Gives the vector of a text. Texts that belong together have vectors with a high cosine."
    example: ClassVar = ({"text": "Where is my card?"}, {"vector": [0.6, -0.8]})

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
        self._model, self._tokenizer = model.eval(), tokenizer
        self._limit = longest_input(model, tokenizer)

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", threads: int) -> VectorPredictor:
        return cls(*read_model(folder, AutoModel, device=device, threads=threads))

    def predict(self, inputs: Sequence[Text]) -> list[Vector]:
        rows = [self._tokenizer(readable(given.text), truncation=True, max_length=self._limit) for given in inputs]
        found: dict[int, Vector] = {}
        for numbers in passes([len(row["input_ids"]) for row in rows]):
            padded = self._tokenizer.pad([rows[n] for n in numbers], return_tensors="pt").to(self._model.device)
            with torch.inference_mode():
                states = self._model(**padded).last_hidden_state.float()
            mask = padded["attention_mask"][..., None].float()
            mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            vectors = torch.nn.functional.normalize(mean, dim=-1).cpu().tolist()
            found.update(zip(numbers, map(Vector, vectors), strict=True))
        return [found[i] for i in range(len(inputs))]
