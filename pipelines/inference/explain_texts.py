"""Why a classifier of whole texts gives a label its score, or a text its number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from pipelines.errors import UserError
from pipelines.inference.explain import Explainer, Read, Score
from pipelines.inference.predictor import readable

FIELDS = ("text", "pair")


class TextExplainer(Explainer):
    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerFast,
        labels: Sequence[str],
        scores: Callable[[Tensor], Tensor],
    ) -> None:
        """
        Args:
            labels: by their number.
            scores: from logits [rows, labels] what the predictor says of every label, [rows, labels].
        """
        super().__init__(model, tokenizer)
        self._labels, self._scores = list(labels), scores

    def _read(self, given: Any) -> Read:
        pair = None if given.pair is None else readable(given.pair)
        found = self._tokenizer(
            readable(given.text), pair, return_offsets_mapping=True, return_tensors="pt", verbose=False
        )
        spans, sides = found.pop("offset_mapping")[0].tolist(), found.sequence_ids(0)
        places = [
            None if side is None else (FIELDS[side], start, end)
            for side, (start, end) in zip(sides, spans, strict=True)
        ]
        return Read({name: one.to(self._model.device) for name, one in found.items()}, places)

    def _target(self, given: Any, read: Read, logits: Tensor, target: str | int | None) -> tuple[str, Score]:  # noqa: ARG002
        if target is None:
            number = int(self._scores(logits)[0].argmax())
        elif target in self._labels:
            number = self._labels.index(str(target))
        else:
            raise UserError(f"The model has no such label; it knows {', '.join(self._labels)}.")
        return self._labels[number], lambda logits: self._scores(logits)[:, number]
