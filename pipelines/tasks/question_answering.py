"""Answers that stand in a text: where they begin and where they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines.data.examples import Array, Encoded, Question, ints
from pipelines.data.questions import QUESTIONS
from pipelines.data.windows import LONGEST_ANSWER, Window, windows
from pipelines.tasks.head import Batch
from pipelines.tasks.precision import widened
from pipelines.tasks.raw_text import RawTextTask
from pipelines.tasks.text_inputs import text_padding

if TYPE_CHECKING:
    from pipelines.report.answers import AnswerReport

STRENGTH, NONE_SCORE, NONE = 3, 4, 5
"""In what a window says, behind first and last sub-word of its likeliest answer and the probability of that: the
answer's logits; and, of there being none, probability and logits."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What an answer is compared with."""

    context: str
    places: Array
    """[sub-words, 2]: which characters of the context each sub-word of the window is; 0, 0 for others."""
    answers: tuple[str, ...]
    """Any of them is right; none: that the text does not answer."""
    continues: bool = False
    """Whether it is of the same row as the one before: another window."""


class QuestionAnswering(RawTextTask):
    """Question and text are read together; a text that is too long is read in windows, each an example of its own.

    Where a window does not hold the whole answer, beginning and end are its first sub-word ([CLS]). The loss of a
    window is the mean of both cross entropies, as in BERT (arXiv 1810.04805, sections 4.2 and 4.3), over the sub-words
    of the window alone: transformers' own loss counts the padding too, and so depends on what else is in a micro-batch.
    A row has one answer: the strongest of its windows, or none if every window finds that likelier.
    """

    kind = QUESTIONS
    smooths = False

    @property
    def auto_class(self) -> Any:
        from transformers import AutoModelForQuestionAnswering

        return AutoModelForQuestionAnswering

    def encode(
        self,
        rows: Sequence[Question],
        processor: Any,
        labels: Sequence[str],  # noqa: ARG002
        max_length: int,
    ) -> list[Encoded]:
        """The windows of each row, which overlap.

        `labels`: [2], beginning and end; `spans`: [length], 1 where a sub-word is of the text that answers.
        """
        encoded = []
        for row in rows:
            for n, window in enumerate(windows(processor, row.question, row.context, max_length)):
                columns = {name: ints(column) for name, column in window.columns.items()}
                columns |= {"labels": ints(_span(row, window)), "spans": ints(window.inside)}
                length, cut = len(window.places), window.num_cut
                encoded.append(Encoded(columns, length, 1, num_cut=cut, places=window.places, continues=n > 0))
        return encoded

    def padding(self, processor: Any) -> dict[str, float]:
        return {**text_padding(processor), "labels": 0, "spans": 0}

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        return {name: column for name, column in batch.items() if name not in {"labels", "spans"}}

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        """Half of both cross entropies of `start_logits` and `end_logits` [rows, length] at `labels` [rows, 2]."""
        both = zip(_logits(output, batch), batch["labels"].unbind(-1), strict=True)
        losses = [F.cross_entropy(logits, at, reduction="sum") for logits, at in both]
        return (losses[0] + losses[1]) / 2

    def answers(self, output: Any, batch: Batch) -> list[Any]:
        """What each window says, [6]: see `STRENGTH` above; `settled` makes a row's answer of them."""
        start, end = _logits(output, batch)
        sums = start.logsumexp(-1) + end.logsumexp(-1)
        outside = batch["spans"] == 0
        width = start.shape[1]
        both = start.masked_fill(outside, -torch.inf)[:, :, None] + end.masked_fill(outside, -torch.inf)[:, None, :]
        allowed = torch.ones(width, width, dtype=torch.bool, device=both.device).triu().tril(LONGEST_ANSWER - 1)
        strength, at = both.masked_fill(~allowed, -torch.inf).flatten(1).max(-1)
        none = start[:, 0] + end[:, 0]
        columns = (at // width, at % width, (strength - sums).exp(), strength, (none - sums).exp(), none)
        return list(torch.stack([column.to(none) for column in columns], -1).double().cpu().numpy())

    def gold(self, row: Question, encoded: Encoded) -> Truth:
        assert encoded.places is not None
        answers = tuple(text for text, _ in row.answers)
        return Truth(row.context, encoded.places, answers, encoded.continues)

    def settled(self, gold: Sequence[Truth], answers: Sequence[Array]) -> tuple[list[int], list[Array]]:
        """Of each row the window that answers, and of the answer the first and the last sub-word there, and its
        probability, [3]; 0 and 0 for none.

        Logits are compared, as in BERT: the probabilities of two windows are of different sums.
        """
        firsts = [n for n, one in enumerate(gold) if not one.continues]
        kept, chosen = [], []
        for row in map(range, firsts, [*firsts[1:], len(gold)]):
            best = max(row, key=lambda n: answers[n][STRENGTH])
            silent = min(row, key=lambda n: answers[n][NONE])
            none = answers[silent][NONE] >= answers[best][STRENGTH]
            kept.append(silent if none else best)
            chosen.append(np.array([0, 0, answers[silent][NONE_SCORE]]) if none else answers[best][:STRENGTH])
        return kept, chosen

    def tally(self, gold: Truth, answer: Array, labels: Sequence[str]) -> tuple[float, ...]:  # noqa: ARG002
        """F1 of the words, and 1."""
        from pipelines.report.answers import overlap

        return overlap(said(gold, answer), gold.answers), 1

    def score_of(self, sums: Array) -> Array:
        """The mean F1."""
        f1: Array = sums[..., 0] / np.maximum(sums[..., 1], 1)
        return f1

    def confidences(self, gold: Truth, answer: Array, labels: Sequence[str]) -> list[tuple[float, bool]]:  # noqa: ARG002
        from pipelines.report.answers import is_exact

        return [(min(1.0, float(answer[2])), is_exact(said(gold, answer), gold.answers))]

    def told(self, gold: Truth, answer: Array, labels: Sequence[str]) -> tuple[str, str]:  # noqa: ARG002
        return " / ".join(gold.answers) or "no answer", said(gold, answer) or "no answer"

    def report(self, gold: Sequence[Truth], answers: Sequence[Array], labels: Sequence[str]) -> AnswerReport:  # noqa: ARG002
        # Imported here: no stage and no data shard scores anything.
        from pipelines.report.answers import answer_report

        return answer_report([said(*one) for one in zip(gold, answers, strict=True)], [one.answers for one in gold])


def said(truth: Truth, answer: Array) -> str:
    """The text that the model points at; empty for none."""
    first, last = int(answer[0]), int(answer[1])
    begin, end = int(truth.places[first, 0]), int(truth.places[last, 1])
    return truth.context[begin:end]


def _span(row: Question, window: Window) -> tuple[int, int]:
    """The first and the last sub-word of the first answer that is whole in the window; 0, 0 without one."""
    places, inside = window.places, window.inside
    for text, start in row.answers:
        end = start + len(text)
        of_it = np.flatnonzero(inside & (places[:, 0] < end) & (places[:, 1] > start))
        if len(of_it) and places[of_it[0], 0] <= start and places[of_it[-1], 1] >= end:
            return int(of_it[0]), int(of_it[-1])
    return 0, 0


def _logits(output: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Of beginning and end, without the padding; half precision is computed in float32."""
    both = []
    for logits in (output.start_logits, output.end_logits):
        both.append(widened(logits).masked_fill(batch["attention_mask"] == 0, -torch.inf))
    return both[0], both[1]
