"""What is said of a whole text, or of a pair of texts: one label, several labels, or a number."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.data.examples import IGNORE, Array, Encoded, LabelledText, floats, ints
from pipelines.data.kind import ExampleKind
from pipelines.data.labelled import ONE_LABEL, ONE_NUMBER, SEVERAL_LABELS
from pipelines.tasks.contrastive import Representation, check_representation, contrastive_sum
from pipelines.tasks.head import Batch, LossSum
from pipelines.tasks.precision import widened
from pipelines.tasks.task import Task
from pipelines.tasks.teacher import TEACHER, Spread, distance_sum, taught
from pipelines.tasks.text_inputs import text_padding, text_probe

if TYPE_CHECKING:
    from pipelines.report.classes import ClassReport, LabelReport
    from pipelines.report.numbers import NumberReport


SAID_FROM = 0.5
"""The probability from which one of several labels is said."""


class SequenceClassification(Task):
    """One label a text; cross entropy."""

    kind: ClassVar[ExampleKind] = ONE_LABEL
    distils = contrasts = True
    problem = "single_label_classification"

    @property
    def auto_class(self) -> Any:
        from transformers import AutoModelForSequenceClassification

        return AutoModelForSequenceClassification

    def labels(self, splits: Mapping[str, Collection[str]]) -> list[str]:
        """Those of train, by name."""
        return sorted(splits["train"])

    def model_options(self, labels: Sequence[str]) -> dict[str, Any]:
        return {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {label: i for i, label in enumerate(labels)},
            "problem_type": self.problem,
        }

    def probe(self, processor: Any) -> dict[str, Tensor]:
        return text_probe(processor)

    def encode(self, rows: Sequence[Any], processor: Any, labels: Sequence[str], max_length: int) -> list[Encoded]:
        """Texts, or pairs as the tokenizer joins them; of what is too long, the longer text loses its end."""
        if not rows:
            return []
        number = {label: i for i, label in enumerate(labels)}
        # Each by itself: what a row becomes must not depend on whether other rows have a second text.
        lone = [row.text for row in rows if row.pair is None]
        both = [(row.text, row.pair) for row in rows if row.pair is not None]
        whole = {
            paired: iter(_rows_of(processor(texts, verbose=False))) if texts else iter(())
            for paired, texts in ((False, lone), (True, both))
        }
        encoded = []
        for row in rows:
            inputs = next(whole[row.pair is not None])
            full = len(inputs["input_ids"])
            if full > max_length:
                inputs = processor(row.text, row.pair, truncation=True, max_length=max_length)
            columns = {name: ints(column) for name, column in inputs.items()} | {"labels": self._target(row, number)}
            length = len(columns["input_ids"])
            encoded.append(Encoded(columns, length, self._num_targets(number), num_cut=full - length))
        return encoded

    def taught(
        self, rows: Sequence[Any], examples: Sequence[Encoded], labels: Sequence[str], max_length: int,
        spread: Spread | None = None,
    ) -> Sequence[Encoded]:  # fmt: skip
        distil = self.settings.distil
        return examples if distil is None else taught(self, distil, rows, examples, labels, max_length, spread)

    def _target(self, row: LabelledText, number: Mapping[str, int]) -> Array:
        return ints([number[row.labels[0]]])

    def _num_targets(self, number: Mapping[str, int]) -> int:  # noqa: ARG002
        return 1

    def padding(self, processor: Any) -> dict[str, float]:
        return {**text_padding(processor), "labels": IGNORE}

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        """Cross entropy of `output.logits` [rows, classes] at `labels` [rows, 1]; with a teacher, what it says, too."""
        labels, distil = batch["labels"][:, 0], self.settings.distil
        own = self.loss.sum(output.logits, labels)
        if distil is None:
            return own
        weights = self.loss.of_targets(labels, own.dtype)
        distance = distance_sum(output.logits, batch[TEACHER], distil.temperature, weights)
        return (1 - distil.weight) * own + distil.weight * distance

    def loss_on(self, model: nn.Module) -> LossSum:
        """`loss_sum`, and with `train.contrastive` how far rows of one label are from each other, too."""
        contrastive = self.settings.contrastive
        if contrastive is None:
            return self.loss_sum
        representation = Representation(model)

        def loss_sum(output: Any, batch: Batch) -> Tensor:
            own, labels = self.loss_sum(output, batch), batch["labels"][:, 0]
            vectors, weights = representation.of(output.logits), self.loss.of_targets(labels, own.dtype)
            distance = contrastive_sum(vectors, labels, contrastive.temperature, weights)
            return (1 - contrastive.weight) * own + contrastive.weight * distance

        return loss_sum

    def check_model(self, model: nn.Module, inputs: Batch) -> None:
        if self.settings.contrastive is not None:
            check_representation(model, inputs)

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        return {name: column for name, column in super().inputs(batch).items() if name != TEACHER}

    def answers(self, output: Any, batch: Batch) -> list[Any]:
        """The probability of every class, [classes]."""
        del batch
        return list(output.logits.float().softmax(-1).cpu().numpy())

    def gold(self, row: Any, encoded: Encoded) -> Any:  # noqa: ARG002
        return row.labels[0]

    def tally(self, gold: Any, answer: Array, labels: Sequence[str]) -> tuple[float, ...]:
        """Whether it is right, and 1."""
        return float(labels[int(answer.argmax())] == gold), 1

    def score_of(self, sums: Array) -> Array:
        """Accuracy."""
        accuracy: Array = sums[..., 0] / np.maximum(sums[..., 1], 1)
        return accuracy

    def confidences(self, gold: Any, answer: Array, labels: Sequence[str]) -> list[tuple[float, bool]]:
        return [(float(answer.max()), labels[int(answer.argmax())] == gold)]

    def told(self, gold: Any, answer: Array, labels: Sequence[str]) -> tuple[str, str]:
        return gold, f"{labels[int(answer.argmax())]} ({answer.max():.2f})"

    def report(self, gold: Sequence[str], answers: Sequence[Array], labels: Sequence[str]) -> ClassReport:
        # Imported here: scores bring scikit-learn, which no stage and no data shard should have to load.
        from pipelines.report.classes import class_report

        return class_report(gold, np.stack(answers), labels)


class MultiLabelClassification(SequenceClassification):
    """Any number of labels a text; binary cross entropy of each, so that every text has as many targets as classes."""

    kind = SEVERAL_LABELS
    smooths = distils = contrasts = False
    problem = "multi_label_classification"

    def _target(self, row: LabelledText, number: Mapping[str, int]) -> Array:
        there = np.zeros(len(number), np.float32)
        there[[number[label] for label in row.labels]] = 1
        return there

    def _num_targets(self, number: Mapping[str, int]) -> int:
        return len(number)

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        """Binary cross entropy of `output.logits` [rows, classes] at `labels` [rows, classes] of 0 and 1."""
        logits = widened(output.logits)
        return F.binary_cross_entropy_with_logits(logits, batch["labels"].to(logits.dtype), reduction="sum")

    def answers(self, output: Any, batch: Batch) -> list[Any]:
        """The probability of every label, [classes]."""
        del batch
        return list(output.logits.float().sigmoid().cpu().numpy())

    def gold(self, row: Any, encoded: Encoded) -> Any:  # noqa: ARG002
        return row.labels

    def tally(self, gold: Any, answer: Array, labels: Sequence[str]) -> tuple[float, ...]:
        """Labels that are right, that are said, that are there."""
        said = set(_said(answer, labels))
        return len(said.intersection(gold)), len(said), len(gold)

    def score_of(self, sums: Array) -> Array:
        """Micro F1."""
        f1: Array = 2 * sums[..., 0] / np.maximum(sums[..., 1] + sums[..., 2], 1)
        return f1

    def confidences(self, gold: Any, answer: Array, labels: Sequence[str]) -> list[tuple[float, bool]]:
        """Of each label, whether it is said or not."""
        return [
            (float(max(p, 1 - p)), (p >= SAID_FROM) == (label in gold)) for label, p in zip(labels, answer, strict=True)
        ]

    def told(self, gold: Any, answer: Array, labels: Sequence[str]) -> tuple[str, str]:
        return ", ".join(gold) or "nothing", ", ".join(_said(answer, labels)) or "nothing"

    def report(self, gold: Sequence[tuple[str, ...]], answers: Sequence[Array], labels: Sequence[str]) -> LabelReport:  # type: ignore[override]
        from pipelines.report.classes import label_report

        return label_report(gold, np.stack(answers), labels)


class Regression(SequenceClassification):
    """A number a text; squared error."""

    kind = ONE_NUMBER
    smooths = distils = contrasts = False
    problem = "regression"

    def labels(self, splits: Mapping[str, Collection[str]]) -> list[str]:  # noqa: ARG002
        return []

    def model_options(self, labels: Sequence[str]) -> dict[str, Any]:  # noqa: ARG002
        return {"num_labels": 1, "problem_type": self.problem}

    def _target(self, row: LabelledText, number: Mapping[str, int]) -> Array:  # noqa: ARG002
        return floats([row.value])

    def _num_targets(self, number: Mapping[str, int]) -> int:  # noqa: ARG002
        return 1

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        """Squared error of `output.logits` [rows, 1] at `labels` [rows, 1]."""
        logits = widened(output.logits)
        return F.mse_loss(logits, batch["labels"].to(logits.dtype), reduction="sum")

    def answers(self, output: Any, batch: Batch) -> list[Any]:
        """The number, [1]."""
        del batch
        return list(output.logits.float().cpu().numpy())

    def gold(self, row: Any, encoded: Encoded) -> Any:  # noqa: ARG002
        return row.value

    def tally(self, gold: Any, answer: Array, labels: Sequence[str]) -> tuple[float, ...]:  # noqa: ARG002
        """1, both numbers, their squares and their product."""
        x, y = float(gold), float(answer[0])
        return 1, x, y, x * x, y * y, x * y

    def score_of(self, sums: Array) -> Array:
        """Pearson's correlation; 0 where one side does not vary."""
        n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
        spread = np.sqrt(np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0))
        correlation: Array = np.divide(n * xy - x * y, spread, out=np.zeros_like(spread), where=spread > 0)
        return correlation

    def confidences(self, gold: Any, answer: Array, labels: Sequence[str]) -> list[tuple[float, bool]]:  # noqa: ARG002
        """A number has none."""
        return []

    def wrongness(self, gold: Any, answer: Array, labels: Sequence[str]) -> float:  # noqa: ARG002
        """How far off it is."""
        return abs(float(answer[0]) - float(gold))

    def told(self, gold: Any, answer: Array, labels: Sequence[str]) -> tuple[str, str]:  # noqa: ARG002
        return f"{gold:g}", f"{answer[0]:.3g}"

    def report(self, gold: Sequence[float], answers: Sequence[Array], labels: Sequence[str]) -> NumberReport:  # type: ignore[override]  # noqa: ARG002
        from pipelines.report.numbers import number_report

        return number_report(gold, np.concatenate(answers))


def _rows_of(batch: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """What a tokenizer made of each text."""
    return (dict(zip(batch, row, strict=True)) for row in zip(*batch.values(), strict=True))


def _said(answer: Array, labels: Sequence[str]) -> list[str]:
    return [label for label, probability in zip(labels, answer, strict=True) if probability >= SAID_FROM]
