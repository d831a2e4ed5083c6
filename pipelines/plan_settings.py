"""What the configuration says of how a model is spread: stages and their devices, replicas, parameter servers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pipelines.section import Section

MOST = 1 << 16
"""Actors of one kind: more than any cluster has room for, and few enough to be listed."""

_Count = Annotated[int, Field(ge=1, le=MOST)]


def _whole_on_each(plan: object) -> object:
    """A worker of plain data parallel holds the whole model: one stage, unless something else is said (and refused)."""
    return {"stages": 1, **plan} if isinstance(plan, dict) and plan.get("strategy") == "data" else plan


class PlanConfig(Section):
    strategy: Literal["pipeline", "data"] = "pipeline"
    """`pipeline` cuts the model into stages; `data` puts all of it on every worker (docs/data-parallel.md)."""
    workers: _Count | tuple[_Count, _Count] | None = None
    """Of strategy `data`: how many workers, or [fewest, most] as the cluster has room for them; 2 when left out."""
    max_failures: int | None = Field(default=None, ge=0)
    """Of strategy `data`: how often lost workers are started again from the last checkpoint; 3 when left out."""
    stages: _Count | Literal["auto"] = "auto"
    """How many actors hold the model, one stage each; `auto` measures the cluster's devices and plans for them."""
    devices: Literal["cpu", "gpu"] | tuple[Literal["cpu", "gpu"], ...] | None = None
    """Of a given number of stages: one word for all, or one for each, first stage first; `cpu` when left out. Of a plan
    that is found: the only kind that it may use; any when left out."""
    cpus_per_stage: float = Field(default=1, gt=0)
    """CPUs reserved for each stage; torch uses as many threads (at least one)."""
    cut: tuple[int, ...] | None = None
    """Of a given number of stages: the number of the first unit of every chunk after the first (docs/cutting.md tells
    how units are counted); found from the units' costs, between whole blocks if there are enough, when left out."""
    stage_of: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """With `cut`: the stage of every chunk, such as [0, 1, 0, 1]; one chunk a stage when left out."""
    place: dict[str, str] = Field(default_factory=dict)
    """What must sit where: `cpu`, `gpu` or a type of device by part of the model, such as {encoder: gpu, decoder: cpu},
    {attention: gpu, feed-forward: cpu}, {embeddings: cpu}, or by a pattern of unit names."""
    at_most: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    """How many devices of a kind or type may be used at most, such as {gpu: 1}."""
    schedule: str = "auto"
    """The order of every stage's actions; see pipelines/plan/schedules/. `auto`: the fastest for the measured times, or
    1f1b where a number of stages is given."""
    minimise: Literal["time", "energy", "money"] = "time"
    """What a plan that is found makes least, of a step: see the section `energy` for watts and prices."""
    replicas: _Count | Literal["auto"] = 1
    """How many full sets of stages train the same model, each on a part of every step; `auto`, with `stages: auto` and
    parameter servers: as many as make a step shortest."""
    shares: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """For each replica, how much of a step it gets against the others, such as [3, 1]. When left out: what it manages,
    where `stages` and `sharing` are `auto` and `sync`, and else equal."""
    servers: int = Field(default=0, ge=0, le=MOST)
    """How many parameter servers own and update the weights; with 0 each stage owns its own."""
    cpus_per_server: float = Field(default=1, gt=0)
    """CPUs reserved for each parameter server; torch uses as many threads (at least one)."""
    sharing: Literal["sync", "bounded", "async"] = "sync"
    """With parameter servers: all replicas wait for every update; or run ahead by at most `staleness` updates; or never
    wait, and each step is an update as it comes (docs/parameter-servers.md)."""
    staleness: int = Field(default=0, ge=0)
    """With `sharing: bounded`: by how many updates the weights that a gradient is computed with may be too old."""
    compress: Literal["none", "bfloat16", "int8"] = "none"
    """What activations and gradients become on their way between stages, for slow links; loses precision, and the
    metric `compression_error` says how much."""
    timeout: float = Field(default=300, gt=0)
    """Seconds any wait may last (placement, a message, a step) before it becomes an error."""

    _one_stage = model_validator(mode="before")(_whole_on_each)


ANSWERING = frozenset({"stages", "devices", "cpus_per_stage", "cut", "stage_of", "timeout"})
"""What of a plan says how a model is spread that only answers."""


def check_answering(plan: PlanConfig, *, fewest: int) -> None:
    """Refuse what is nothing to a model that only answers: one that is served, or teaches.

    Raises:
        PydanticCustomError: says what.
    """
    if others := sorted(plan.model_fields_set - ANSWERING):
        raise PydanticCustomError(
            "answering", "a model that only answers has no {others}; leave it out", {"others": ", ".join(others)}
        )
    if plan.stages == "auto" or plan.stages < fewest:
        raise PydanticCustomError("stages", "set stages to a number from {fewest} on", {"fewest": fewest})
