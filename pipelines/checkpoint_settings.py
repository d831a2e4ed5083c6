"""The section `checkpoint` of the config: when a run is saved, what stays, and what a run goes on from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipelines.section import Section

Changeable = Literal[
    "train.learning_rate",
    "train.weight_decay",
    "train.layer_decay",
    "train.eps",
    "train.clip",
    "train.label_smoothing",
    "train.temperature",
]
"""What may change in the middle of a run: no weight, no moment of an optimizer and no order of the data is another for
it, and scores on dev stay comparable."""


class CheckpointConfig(Section):
    every_steps: int | None = Field(default=None, ge=1)
    """Steps between checkpoints; one at the end of every epoch when left out."""
    keep: int = Field(default=2, ge=1)
    """How many of the newest checkpoints stay."""
    keep_best: int = Field(default=1, ge=0)
    """How many more stay: those with the best score on dev, which is known of those at the end of an epoch."""
    copy_to: str | None = None
    """An address (s3://, gs://, file:// and others of fsspec's) that each checkpoint is copied to when it is whole."""
    resume: str = "auto"
    """`auto` goes on with an unfinished run of the same config, in `run.output` or the newest in `runs/`; `never`
    begins afresh; or a checkpoint's folder or address, or a run's, whose newest checkpoint is meant."""
    changes: tuple[Changeable, ...] = ()
    """In what the run may differ from the one whose checkpoint it goes on from."""
    stop_after: int | None = Field(default=None, ge=1)
    """Epochs after which the run stops with a checkpoint, as if it had been asked to."""
