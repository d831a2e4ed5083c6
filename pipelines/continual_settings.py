"""What the configuration says of learning one data set after the other without forgetting; see docs/continual.md."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipelines.section import Section


class ReplayConfig(Section):
    sets: tuple[str, ...] = Field(min_length=1)
    """Earlier sets, each a folder, a training file or `hub:ID`: rows of their training splits join those of train."""
    kept: int = Field(default=200, ge=1)
    """Rows of each; all where a set has no more."""
    seed: int = Field(default=0, ge=0)
    """Says which rows."""


class ContinualConfig(Section):
    sets: tuple[str, ...] = Field(min_length=2)
    """The data sets in the order in which they are learnt: each a folder with train and test files, or `hub:ID`."""
    method: Literal["none", "replay"] = "none"
    """What is done against forgetting: nothing, or rows of the earlier sets among those of the next one."""
    kept: int | None = Field(default=None, ge=1)
    """Of `replay`: rows kept of each earlier set; 200 when left out."""
