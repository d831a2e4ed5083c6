"""What a stage does, one thing after the other."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.train.events import Kind


@dataclass(frozen=True, slots=True)
class Action:
    """One thing a stage does; `micro_batch` is None for the update, which belongs to the whole step."""

    kind: Kind
    micro_batch: int | None = None
    chunk: int = 0
    """The chunk that is acted on, counted in the order of the model over all stages; 0 for the update, which is of
    all of a stage's chunks."""

    def __str__(self) -> str:
        return self.kind[0].upper() + ("" if self.micro_batch is None else str(self.micro_batch))
