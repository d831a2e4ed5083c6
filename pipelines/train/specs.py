"""What every stage of a plan must know to build itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.config import TrainConfig
from pipelines.model.units import Units
from pipelines.plan.holders import borrowed_and_lent, shared_parameters, stage_parameters
from pipelines.tasks.head import Head
from pipelines.train.compress import Compression
from pipelines.train.parameter_shards import Owners


@dataclass(frozen=True, slots=True)
class StageSpec:
    """All that a stage must know of the run to build itself."""

    stage: int
    num_stages: int
    bounds: tuple[int, ...]
    """The first unit of every chunk of the model, and the number of units."""
    stage_of: tuple[int, ...]
    """The stage of every chunk."""
    units: Units
    head: Head
    model_class: str
    """Its name in transformers."""
    model_config: Any
    """The model's configuration, a transformers config."""
    dtype: str
    train: TrainConfig
    seed: int
    num_steps: int
    """Steps of the whole run, for the learning rate."""
    trained: frozenset[str]
    """Names of all parameters of the model that are trained; the others stay as they are."""
    adapter: Any = None
    """PEFT's configuration of the adapter that the model has."""
    compress: Compression = "none"
    """How what it sends to other stages is made smaller."""
    borrowed: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Shared parameters that another stage owns and updates, by that stage."""
    lent: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Shared parameters of this stage that other stages use too, by those stages."""
    shared: frozenset[str] = frozenset()
    """Names of all trained parameters that several stages use."""
    owners: Owners = ()
    """For each parameter server the pieces that it owns; empty where each stage owns what it trains."""
    widens: bool = False
    """Whether what arrives in half of the bits is widened to `dtype`: others compute so, and this stage does not."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """The numbers of this stage's chunks."""
        return tuple(chunk for chunk, stage in enumerate(self.stage_of) if stage == self.stage)

    @property
    def last_chunk(self) -> int:
        """The number of the model's last chunk, wherever it is."""
        return len(self.stage_of) - 1

    def trains_before(self, chunk: int) -> bool:
        """Whether an earlier chunk trains anything, and so waits for gradients."""
        return not self.trained.isdisjoint(self.units.parameters(0, self.bounds[chunk]))

    def trains(self, chunk: int) -> bool:
        """Whether this chunk or an earlier one trains anything: otherwise its forwards leave nothing to go back."""
        return not self.trained.isdisjoint(self.units.parameters(0, self.bounds[chunk + 1]))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters that this stage's units need, each once, in a stable order."""
        return stage_parameters(self.units, self.bounds, self.stage_of, self.stage)


def stage_specs(
    units: Units,
    bounds: Sequence[int],
    stage_of: Sequence[int],
    *,
    head: Head,
    model_class: str,
    model_config: Any,
    dtype: str,
    train: TrainConfig,
    seed: int,
    num_steps: int,
    trained: frozenset[str],
    adapter: Any = None,
    compress: Compression = "none",
    owners: Owners = (),
) -> list[StageSpec]:
    """One for each stage; what stages share is owned by the first that needs it.

    Args:
        bounds: the first unit of every chunk, and the number of units.
        stage_of: the stage of every chunk.
        trained: names of the parameters that are trained.
        adapter: PEFT's configuration of the adapter that the model has.
        compress: how activations and gradients are made smaller on their way.
        owners: for each parameter server the pieces that it owns; then stages own nothing, and share nothing directly.
    """
    # What stays as it is need not be summed: each stage has its copy.
    shared = {name: stages for name, stages in shared_parameters(units, bounds, stage_of).items() if name in trained}
    specs = []
    num_stages = max(stage_of) + 1
    for j in range(num_stages):
        borrowed, lent = borrowed_and_lent({} if owners else shared, j)
        specs.append(
            StageSpec(
                stage=j,
                num_stages=num_stages,
                bounds=tuple(bounds),
                stage_of=tuple(stage_of),
                units=units,
                head=head,
                model_class=model_class,
                model_config=model_config,
                dtype=dtype,
                train=train,
                seed=seed,
                num_steps=num_steps,
                trained=trained,
                adapter=adapter,
                compress=compress,
                borrowed=borrowed,
                lent=lent,
                shared=frozenset(shared),
                owners=owners,
            )
        )
    return specs


def held(units: Units, spec: StageSpec) -> tuple[str, ...]:
    """Names of the parameters that a stage holds: those of its units, and what every stage reads."""
    return (*spec.parameters, *units.constants)
