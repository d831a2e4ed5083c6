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


class EwcConfig(Section):
    importance: str
    """A safetensors file that says of each trained parameter's values how much they mattered for what the model has
    learnt already; `jobs.continual` writes such files."""
    strength: float = Field(gt=0)
    """How strongly they are held where they are when the run starts."""


class ContinualConfig(Section):
    sets: tuple[str, ...] = Field(min_length=2)
    """The data sets in the order in which they are learnt: each a folder with train and test files, or `hub:ID`."""
    method: Literal["none", "replay", "ewc", "lwf"] = "none"
    """What is done against forgetting: nothing; rows of the earlier sets among those of the next one; elastic weight
    consolidation, which holds back the weights that mattered for the earlier sets; or learning without forgetting,
    where the model before teaches the next one what it says of the next set's rows."""
    kept: int | None = Field(default=None, ge=1)
    """Of `replay`: rows kept of each earlier set; 200 when left out."""
    strength: float | None = Field(default=None, gt=0)
    """Of `ewc`: how strongly weights are held back; there is no usual value, so it is to be given."""
    sample: int | None = Field(default=None, ge=1)
    """Of `ewc`: examples of a set by which it is found out which weights mattered; 200 when left out."""
    weight: float | None = Field(default=None, gt=0, lt=1)
    """Of `lwf`: `train.distil.weight` of every run but the first; as there when left out."""
    temperature: float | None = Field(default=None, gt=0)
    """Of `lwf`: `train.distil.temperature` of these; as there when left out."""
