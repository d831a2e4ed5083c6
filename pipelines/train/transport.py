"""What a stage needs of whatever carries its messages. cluster/transport.py carries them between actors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

What = Literal[
    "activations", "gradients", "shared gradients", "shared weights", "norms", "norm", "scores", "threshold", "weights",
    "moments", "importance", "asking", "values", "pushing", "interruption",
]  # fmt: skip

DRIVER = -1
"""The driver's number among the stages, for what it hands them and takes from them."""

SPAN = 2**16
"""More stages than a replica ever has: stage `j` of replica `r` has the number `r * SPAN + j` among all stages."""


def server_number(server: int) -> int:
    """A parameter server's number among the stages."""
    return DRIVER - 1 - server


def who(number: int) -> str:
    """Whose number it is, in words."""
    if number == DRIVER:
        return "the driver"
    if number < DRIVER:
        return f"parameter server {DRIVER - 1 - number}"
    replica, stage = divmod(number, SPAN)
    return f"stage {stage} of replica {replica}" if replica else f"stage {stage}"


@dataclass(frozen=True, slots=True)
class Tag:
    """Names one message between two stages, or between a stage and the driver."""

    step: int
    """The step, or the number of a piece that the driver gives or takes."""
    what: What
    micro_batch: int = 0
    """Or the wave, in what goes between stages and parameter servers."""
    chunk: int = 0
    """Of activations and gradients: the chunk that they are for."""

    def __str__(self) -> str:
        of = f" of micro-batch {self.micro_batch}" if self.what in {"activations", "gradients"} else ""
        of = f" for wave {self.micro_batch}" if self.what in {"asking", "values", "pushing"} else of
        return f"{self.what}{of} in step {self.step}"


Want = tuple[int, Tag]
"""A message that a stage waits for, and from which stage."""


class Transport(Protocol):
    """Point-to-point messages between stages, and with parameter servers. A message is a list of tensors on the host.

    Shapes may differ from message to message. Messages with different tags may be received in any order.
    """

    def send(self, stage: int, tag: Tag, tensors: Sequence[Tensor]) -> int:
        """Hand a message over and return its bytes; does not wait for the receiver. The tensors must not be changed."""

    def receive(self, stage: int, tag: Tag) -> list[Tensor]:
        """Wait for a message from `stage`.

        Raises:
            TimeoutError: it did not come in time; names who waits, for whom, and for what.
        """


class Within:
    """What a stage of a replica sees: its own replica's stages, by their numbers there, and the parameter servers."""

    def __init__(self, stages: Transport, servers: Transport, replica: int) -> None:
        self._stages, self._servers, self._base = stages, servers, replica * SPAN

    def send(self, stage: int, tag: Tag, tensors: Sequence[Tensor]) -> int:
        transport, number = self._way(stage)
        return transport.send(number, tag, tensors)

    def receive(self, stage: int, tag: Tag) -> list[Tensor]:
        transport, number = self._way(stage)
        return transport.receive(number, tag)

    def _way(self, stage: int) -> tuple[Transport, int]:
        return (self._stages, stage + self._base) if stage >= 0 else (self._servers, stage)
