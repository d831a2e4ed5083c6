"""Named entities and every other labelling of words: one class a word, entities as IOB2 spans."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipelines.data.examples import IGNORE, Encoded, TaggedSentence, ints
from pipelines.data.iob import OUTSIDE
from pipelines.data.labels import tag_list
from pipelines.data.tagged import TAGGED
from pipelines.tasks.head import Batch
from pipelines.tasks.task import Task
from pipelines.tasks.text_inputs import text_padding, text_probe

MARKS = frozenset(",;:!?")

if TYPE_CHECKING:
    from pipelines.report.entities import EntityReport


class TokenClassification(Task):
    """The first sub-word of a word carries its label; the other sub-words and the special ones carry none."""

    kind = TAGGED

    @property
    def auto_class(self) -> Any:
        from transformers import AutoModelForTokenClassification

        return AutoModelForTokenClassification

    def labels(self, splits: Mapping[str, Collection[str]]) -> list[str]:
        return tag_list(splits)

    def model_options(self, labels: Sequence[str]) -> dict[str, Any]:
        return {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {label: i for i, label in enumerate(labels)},
        }

    def probe(self, processor: Any) -> dict[str, Tensor]:
        return text_probe(processor)

    def encode(
        self, rows: Sequence[TaggedSentence], processor: Any, labels: Sequence[str], max_length: int
    ) -> list[Encoded]:
        if not rows:
            return []
        number = {label: i for i, label in enumerate(labels)}
        batch = processor(
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
        columns = {name: ints(column) for name, column in inputs.items()} | {"labels": ints(marks)}
        unseen = len(row.words) - len(words) - cut
        return Encoded(columns, len(marks), len(words), words, num_cut=cut, num_unseen=unseen)

    def padding(self, processor: Any) -> dict[str, float]:
        return {**text_padding(processor), "labels": IGNORE}

    def facts(self, rows: Sequence[TaggedSentence]) -> dict[str, Any]:
        """`punctuation`: whether it is `attached` to its word or `separate`, as most of the rows have it."""
        words = [word for row in rows for word in row.words]
        alone = sum(word in MARKS for word in words)
        attached = sum(len(word) > 1 and word[-1] in MARKS for word in words)
        return {"punctuation": "attached" if attached > alone else "separate"}

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        """Cross entropy of `output.logits` [rows, length, classes] at `labels` [rows, length]."""
        return self.loss.sum(_of_words(output, batch), batch["labels"])

    def answers(self, output: Any, batch: Batch) -> list[npt.NDArray[np.int32]]:
        """The predicted class of every valid target."""
        best = _of_words(output, batch).argmax(-1)
        valid = batch["labels"] != IGNORE
        return [row[keep].to("cpu", torch.int32).numpy() for row, keep in zip(best, valid, strict=True)]

    def gold(self, row: TaggedSentence, encoded: Encoded) -> tuple[tuple[str, ...], Sequence[int]]:
        """Its tags, and which of its words the model gives an answer for."""
        return row.tags, encoded.words

    def report(
        self, gold: Sequence[tuple[tuple[str, ...], Sequence[int]]], answers: Sequence[Any], labels: Sequence[str]
    ) -> EntityReport:
        """Of all words; one that the model never saw counts as `O`."""
        # Imported here: seqeval brings scikit-learn, which no stage and no data shard should have to load.
        from pipelines.report.entities import entity_report

        predicted = []
        for (tags, words), classes in zip(gold, answers, strict=True):
            guess = [OUTSIDE] * len(tags)
            for word, number in zip(words, classes, strict=True):
                guess[word] = labels[int(number)]
            predicted.append(guess)
        return entity_report([tags for tags, _ in gold], predicted)


def _of_words(output: Any, batch: Batch) -> Tensor:
    """Logits [rows, length, classes] of the input itself: prompt tuning puts tokens of its own in front of it."""
    logits: Tensor = output.logits[:, -batch["labels"].shape[1] :]
    return logits
