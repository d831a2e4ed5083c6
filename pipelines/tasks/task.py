"""What the engine asks of a task. To add one: a file beside this one, and its name in TASKS."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from pipelines.data.examples import Encoded, TaggedSentence
from pipelines.tasks.cross_entropy import PLAIN, CrossEntropy
from pipelines.tasks.head import Head


class Task(Head):
    """A kind of learning: how an example is encoded, what is lost, and how good the answers are."""

    def __init__(self, loss: CrossEntropy = PLAIN) -> None:
        """`loss`: its settings, which only whoever computes the loss needs."""
        self.loss = loss

    @property
    @abstractmethod
    def auto_class(self) -> Any:
        """The `AutoModelFor...` class that gives the model its head."""

    @abstractmethod
    def model_options(self, labels: Sequence[str]) -> dict[str, Any]:
        """What the model's configuration must know of the labels."""

    @abstractmethod
    def encode(
        self, rows: Sequence[TaggedSentence], tokenizer: Any, labels: Sequence[str], max_length: int
    ) -> list[Encoded]:
        """The rows as the model reads them."""

    @abstractmethod
    def padding(self, tokenizer: Any) -> dict[str, int]:
        """What each column of a micro-batch, `labels` among them, is padded with."""

    @abstractmethod
    def report(self, gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Any:
        """The scores of a split."""
