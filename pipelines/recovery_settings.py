"""What the configuration says of losses: how far a run goes back, and when it gives up."""

from __future__ import annotations

from pydantic import Field

from pipelines.section import Section


class RecoveryConfig(Section):
    copy_every: int = Field(default=10, ge=1)
    """Steps from one copy of the weights in memory to the next: at most so many are run again after a loss."""
    spares: int = Field(default=1, ge=0)
    """Actors on each node with stages on CPUs that wait to take a lost stage's place: each holds the libraries in its
    memory and no CPU. With 0 a new process starts when one is needed."""
    tries: int = Field(default=3, ge=0)
    """How many losses in a row, with no new step between them, end the run; with 0 the first one does."""
    silence: float = Field(default=30, gt=0)
    """Seconds after which an actor that was told to let go, and is not dead, counts as lost."""
