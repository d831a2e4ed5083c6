"""What a stage needs of whatever carries its messages. cluster/transport.py carries them between actors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

What = Literal[
    "activations", "gradients", "shared gradients", "shared weights", "norms", "norm", "scores", "threshold", "weights",
    "moments",
]  # fmt: skip

DRIVER = -1
"""The driver's number among the stages, for what it hands them and takes from them."""


@dataclass(frozen=True, slots=True)
class Tag:
    """Names one message between two stages, or between a stage and the driver."""

    step: int
    """The step, or the number of a piece that the driver gives or takes."""
    what: What
    micro_batch: int = 0
    chunk: int = 0
    """Of activations and gradients: the chunk that they are for."""

    def __str__(self) -> str:
        of = f" of micro-batch {self.micro_batch}" if self.what in {"activations", "gradients"} else ""
        return f"{self.what}{of} in step {self.step}"


class Transport(Protocol):
    """Point-to-point messages between the stages of one replica. A message is a list of tensors on the host.

    Shapes may differ from message to message. Messages with different tags may be received in any order.
    """

    def send(self, stage: int, tag: Tag, tensors: Sequence[Tensor]) -> int:
        """Hand a message over and return its bytes; does not wait for the receiver. The tensors must not be changed."""

    def receive(self, stage: int, tag: Tag) -> list[Tensor]:
        """Wait for a message from `stage`.

        Raises:
            TimeoutError: it did not come in time; names who waits, for whom, and for what.
        """
