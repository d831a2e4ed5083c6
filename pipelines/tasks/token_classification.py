"""Named entities and every other labelling of words: one class a word, entities as IOB2 spans."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pipelines.data.examples import IGNORE, Array, Encoded, TaggedSentence, floats, ints
from pipelines.data.iob import OUTSIDE
from pipelines.data.labels import tag_list
from pipelines.data.tagged import TAGGED
from pipelines.tasks.head import Batch
from pipelines.tasks.task import Task
from pipelines.tasks.teacher import TEACHER, Spread, distance_sum, taught
from pipelines.tasks.text_inputs import text_padding, text_probe

MARKS = frozenset(",;:!?")
Gold = tuple[tuple[str, ...], Sequence[int]]
"""A row's tags, and which of its words the model gives an answer for."""

if TYPE_CHECKING:
    from pipelines.report.entities import EntityReport


class TokenClassification(Task):
    """The first sub-word of a word carries its label; the other sub-words and the special ones carry none."""

    kind = TAGGED
    distils = True

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

    def taught(
        self, rows: Sequence[Any], examples: Sequence[Encoded], labels: Sequence[str], max_length: int,
        spread: Spread | None = None,
    ) -> Sequence[Encoded]:  # fmt: skip
        distil = self.settings.distil
        if distil is None:
            return examples
        return taught(self, distil, rows, examples, labels, max_length, spread, place=_at_words)

    def padding(self, processor: Any) -> dict[str, float]:
        return {**text_padding(processor), "labels": IGNORE}

    def count(self, row: TaggedSentence) -> dict[str, int]:
        return {
            "alone": sum(word in MARKS for word in row.words),
            "attached": sum(len(word) > 1 and word[-1] in MARKS for word in row.words),
        }

    def facts(self, counts: Mapping[str, int]) -> dict[str, Any]:
        """`punctuation`: whether it is `attached` to its word or `separate`, as most of the rows have it."""
        more = counts.get("attached", 0) > counts.get("alone", 0)
        return {"punctuation": "attached" if more else "separate"}

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        """Cross entropy of `output.logits` [rows, length, classes] at `labels` [rows, length].

        With a teacher, what it says, too; of a word that it did not read, the label alone is learnt.
        """
        logits, labels, distil = _of_words(output, batch), batch["labels"], self.settings.distil
        own = self.loss.sum(logits, labels)
        if distil is None:
            return own
        there = labels != IGNORE
        logits, labels, said = logits[there], labels[there], batch[TEACHER][there]
        read = said[:, 0].isfinite()
        weights = self.loss.of_targets(labels[read], own.dtype)
        distance = distance_sum(logits[read], said[read], distil.temperature, weights)
        return (1 - distil.weight) * own + distil.weight * (distance + self.loss.sum(logits[~read], labels[~read]))

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        return {name: column for name, column in super().inputs(batch).items() if name != TEACHER}

    def answers(self, output: Any, batch: Batch) -> list[Array]:
        """Of every valid target the predicted class and its probability, [targets, 2]."""
        logits = _of_words(output, batch).float()
        best = logits.max(-1)
        probability = (best.values - logits.logsumexp(-1)).exp()
        found = torch.stack([best.indices.float(), probability], -1).cpu().numpy()
        valid = (batch["labels"] != IGNORE).cpu().numpy()
        return [row[keep] for row, keep in zip(found, valid, strict=True)]

    def gold(self, row: TaggedSentence, encoded: Encoded) -> Gold:
        return row.tags, encoded.words

    def tally(self, gold: Gold, answer: Array, labels: Sequence[str]) -> tuple[float, ...]:
        """Entities that are right, that are predicted, that are there."""
        from pipelines.report.entities import entities_in

        true, said = entities_in(gold[0]), entities_in(_said(gold, answer, labels))
        return len(true & said), len(said), len(true)

    def score_of(self, sums: Array) -> Array:
        """F1."""
        f1: Array = 2 * sums[..., 0] / np.maximum(sums[..., 1] + sums[..., 2], 1)
        return f1

    def confidences(self, gold: Gold, answer: Array, labels: Sequence[str]) -> list[tuple[float, bool]]:
        """Of each word."""
        tags, words = gold
        return [
            (float(probability), labels[int(number)] == tags[word])
            for word, (number, probability) in zip(words, answer, strict=True)
        ]

    def told(self, gold: Gold, answer: Array, labels: Sequence[str]) -> tuple[str, str]:
        """The tags that are not `O`, with the numbers of their words."""
        return _shown(gold[0]), _shown(_said(gold, answer, labels))

    def report(self, gold: Sequence[Gold], answers: Sequence[Any], labels: Sequence[str]) -> EntityReport:
        """Of all words; one that the model never saw counts as `O`."""
        # Imported here: seqeval brings scikit-learn, which no stage and no data shard should have to load.
        from pipelines.report.entities import entity_report

        said = [_said(one, answer, labels) for one, answer in zip(gold, answers, strict=True)]
        return entity_report([tags for tags, _ in gold], said)


def _said(gold: Gold, answer: Array, labels: Sequence[str]) -> list[str]:
    """A tag for every word; one that the model never saw gets `O`."""
    tags, words = gold
    guess = [OUTSIDE] * len(tags)
    for word, number in zip(words, answer[:, 0], strict=True):
        guess[word] = labels[int(number)]
    return guess


def _shown(tags: Sequence[str]) -> str:
    return " ".join(f"{i + 1}:{tag}" for i, tag in enumerate(tags) if tag != OUTSIDE) or OUTSIDE


def _at_words(example: Encoded, own: Encoded, logits: Array) -> Array:
    """The teacher's logits at the sub-words that carry a label here, [length, classes].

    NaN where there is no label, and for a word that the teacher did not read.
    """
    found = floats(np.full((example.length, logits.shape[-1]), np.nan))
    of_word = dict(zip(own.words, logits[own.columns["labels"] != IGNORE], strict=True))
    for at, word in zip(np.flatnonzero(example.columns["labels"] != IGNORE), example.words, strict=True):
        if word in of_word:
            found[at] = of_word[word]
    return found


def _of_words(output: Any, batch: Batch) -> Tensor:
    """Logits [rows, length, classes] of the input itself: prompt tuning puts tokens of its own in front of it."""
    logits: Tensor = output.logits[:, -batch["labels"].shape[1] :]
    return logits
