"""Named entities and every other labelling of words: one class a word, entities as IOB2 spans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipelines.data.examples import Encoded, TaggedSentence
from pipelines.data.pack import IGNORE
from pipelines.tasks.head import Batch
from pipelines.tasks.task import Task

if TYPE_CHECKING:
    from pipelines.report.entities import EntityReport


class TokenClassification(Task):
    """The first sub-word of a word carries its label; the other sub-words and the special ones carry none."""

    @property
    def auto_class(self) -> Any:
        from transformers import AutoModelForTokenClassification

        return AutoModelForTokenClassification

    def model_options(self, labels: Sequence[str]) -> dict[str, Any]:
        return {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {label: i for i, label in enumerate(labels)},
        }

    def encode(
        self, rows: Sequence[TaggedSentence], tokenizer: Any, labels: Sequence[str], max_length: int
    ) -> list[Encoded]:
        if not rows:
            return []
        number = {label: i for i, label in enumerate(labels)}
        batch = tokenizer(
            [list(row.words) for row in rows], is_split_into_words=True, truncation=True, max_length=max_length
        )
        return [
            self._align(row, {name: batch[name][at] for name in batch}, batch.word_ids(at), number, max_length)
            for at, row in enumerate(rows)
        ]

    def _align(
        self,
        row: TaggedSentence,
        inputs: dict[str, list[int]],
        word_of: Sequence[int | None],
        number: Mapping[str, int],
        max_length: int,
    ) -> Encoded:
        marks, words = [], []
        before = None
        for word in word_of:
            if word is None or word == before:
                marks.append(IGNORE)
            else:
                marks.append(number[row.tags[word]])
                words.append(word)
            before = word
        seen = words[-1] + 1 if words else 0
        cut = len(row.words) - seen if len(marks) == max_length else 0
        return Encoded(inputs, marks, words, num_words_cut=cut, num_words_unseen=len(row.words) - len(words) - cut)

    def padding(self, tokenizer: Any) -> dict[str, int]:
        return {
            "input_ids": tokenizer.pad_token_id or 0,
            "token_type_ids": tokenizer.pad_token_type_id,
            "attention_mask": 0,
            "labels": IGNORE,
        }

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        return {name: column for name, column in batch.items() if name != "labels"}

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        """Cross entropy of `output.logits` [rows, length, classes] at `labels` [rows, length]."""
        return self.loss.sum(_of_words(output, batch), batch["labels"])

    def answers(self, output: Any, batch: Batch) -> list[npt.NDArray[np.int32]]:
        """The predicted class of every valid target."""
        best = _of_words(output, batch).argmax(-1)
        valid = batch["labels"] != IGNORE
        return [row[keep].to("cpu", torch.int32).numpy() for row, keep in zip(best, valid, strict=True)]

    def report(self, gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> EntityReport:
        # Imported here: seqeval brings scikit-learn, which no stage and no data shard should have to load.
        from pipelines.report.entities import entity_report

        return entity_report(gold, predicted)


def _of_words(output: Any, batch: Batch) -> Tensor:
    """Logits [rows, length, classes] of the input itself: prompt tuning puts tokens of its own in front of it."""
    logits: Tensor = output.logits[:, -batch["labels"].shape[1] :]
    return logits
