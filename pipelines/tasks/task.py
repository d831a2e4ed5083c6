"""What the engine asks of a task. To add one: a file beside this one, and its name in TASKS."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from pipelines.data.examples import Array, Encoded
from pipelines.data.kind import ExampleKind
from pipelines.report.report import Report
from pipelines.tasks.cross_entropy import PLAIN, CrossEntropy
from pipelines.tasks.head import Batch, Head
from pipelines.tasks.settings import USUAL, TaskSettings

if TYPE_CHECKING:
    from pipelines.tasks.teacher import Spread


class Task(Head):
    """A kind of learning: how an example is encoded, what is lost, and how good the answers are."""

    kind: ClassVar[ExampleKind]
    """What its rows are."""
    smooths: ClassVar[bool] = True
    """Whether its loss is one over classes, that `train.label_smoothing` can spread a target over."""

    packs: ClassVar[bool] = False
    """Whether examples may share a row (`data.packing`): the model reads a row from left to right, and each example's
    first label is none."""

    distils: ClassVar[bool] = False
    """Whether it can learn from a teacher's answers (`train.distil`)."""

    contrasts: ClassVar[bool] = False
    """Whether what it makes of rows can be compared by their labels (`train.contrastive`)."""

    def __init__(self, loss: CrossEntropy = PLAIN, settings: TaskSettings = USUAL) -> None:
        """`loss`: its settings, which only whoever computes the loss needs."""
        self.loss, self.settings = loss, settings

    # -- the model ------------------------------------------------------------------------------

    @property
    @abstractmethod
    def auto_class(self) -> Any:
        """The `AutoModelFor...` class that gives the model its head."""

    def labels(self, splits: Mapping[str, Collection[str]]) -> list[str]:  # noqa: ARG002
        """What the model's classes stand for, from the labels of each split; none, if nothing else is said."""
        return []

    def model_options(self, labels: Sequence[str]) -> dict[str, Any]:  # noqa: ARG002
        """What the model's configuration must know of the labels; nothing, if nothing else is said."""
        return {}

    def load_processor(self, source: str) -> Any:
        """What makes the model's input of a row; a tokenizer, if nothing else is said.

        Raises:
            UserError: there is none.
        """
        from pipelines.model.load import load_tokenizer

        return load_tokenizer(source)

    @abstractmethod
    def probe(self, processor: Any) -> dict[str, Tensor]:
        """A small micro-batch's `inputs`, two rows of unlike lengths, to try the model on."""

    def check_model(self, model: nn.Module, inputs: Batch) -> None:
        """Refuse a model that the loss cannot be computed with; none, if nothing else is said.

        Args:
            inputs: a micro-batch, as its forward takes it.

        Raises:
            UserError: says why.
        """

    # -- examples -------------------------------------------------------------------------------

    @abstractmethod
    def encode(self, rows: Sequence[Any], processor: Any, labels: Sequence[str], max_length: int) -> list[Encoded]:
        """The rows as the model reads them: one example each, or several, of which all but the first continue it."""

    def taught(
        self,
        rows: Sequence[Any],  # noqa: ARG002
        examples: Sequence[Encoded],
        labels: Sequence[str],  # noqa: ARG002
        max_length: int,  # noqa: ARG002
        spread: Spread | None = None,  # noqa: ARG002
    ) -> Sequence[Encoded]:
        """Examples of the training split, with what a teacher says of them where there is one.

        Args:
            spread: has the teacher computed by other devices meanwhile.
        """
        assert self.settings.distil is None
        return examples

    def drawn(self, example: Encoded, processor: Any, epoch: int) -> Encoded:  # noqa: ARG002
        """An example of the training split as an epoch has it; as it is, unless a part is drawn anew in each.

        Lengths and targets are as many in every epoch. What is drawn depends on seed, epoch and example alone.
        """
        return example

    @abstractmethod
    def padding(self, processor: Any) -> dict[str, float]:
        """What each column of a micro-batch, `labels` among them, is padded with."""

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """All columns but the labels, if nothing else is said."""
        return {name: column for name, column in batch.items() if name != "labels"}

    def count(self, row: Any) -> Mapping[str, int]:  # noqa: ARG002
        """What one row adds to the counts that `facts` go by; nothing, if nothing else is said."""
        return {}

    def facts(self, counts: Mapping[str, int]) -> dict[str, Any]:  # noqa: ARG002
        """What of the training rows whoever uses the model must know; JSON. Nothing, if nothing else is said.

        Args:
            counts: of all rows together.
        """
        return {}

    # -- scores ---------------------------------------------------------------------------------

    @abstractmethod
    def gold(self, row: Any, encoded: Encoded) -> Any:
        """What the answer to an example of a row is compared with."""

    def settled(self, gold: Sequence[Any], answers: Sequence[Any]) -> tuple[Sequence[int], Sequence[Any]]:
        """Which of a split's examples are scored, and the answers to these, when all are there.

        All, as they are, unless an answer depends on others. What follows takes these.

        Args:
            gold, answers: of each example, in the order of the split.
        """
        return range(len(gold)), answers

    @abstractmethod
    def tally(self, gold: Any, answer: Any, labels: Sequence[str]) -> tuple[float, ...]:
        """What one row adds to the sums of which `score_of` makes the score."""

    @abstractmethod
    def score_of(self, sums: Array) -> Array:
        """The score of a report, from sums of tallies.

        Args:
            sums: [..., figures of a tally]; the score has the shape before the last dimension.
        """

    def confidences(self, gold: Any, answer: Any, labels: Sequence[str]) -> list[tuple[float, bool]]:  # noqa: ARG002
        """Of each of a row's predictions how probable the model found it, and whether it is right.

        Nothing, if nothing else is said: not every answer has a probability.
        """
        return []

    def wrongness(self, gold: Any, answer: Any, labels: Sequence[str]) -> float:
        """How wrong an answer is, 0 for not at all; how sure the model was of what is wrong, unless told otherwise."""
        wrong = [confidence for confidence, right in self.confidences(gold, answer, labels) if not right]
        return sum(wrong) / max(1, len(wrong))

    @abstractmethod
    def told(self, gold: Any, answer: Any, labels: Sequence[str]) -> tuple[str, str]:
        """What is true of a row and what the model said, for a person to read."""

    @abstractmethod
    def report(self, gold: Sequence[Any], answers: Sequence[Any], labels: Sequence[str]) -> Report:
        """The scores of a split.

        Args:
            gold: of each example that is scored.
            answers: to each of these, as `settled` gave it.
        """
