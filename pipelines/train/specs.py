"""What every stage of a plan must know to build itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from pipelines.config import TrainConfig
from pipelines.model.units import Units
from pipelines.plan.plan import borrowed_and_lent, shared_parameters
from pipelines.tasks.head import Head


@dataclass(frozen=True, slots=True)
class StageSpec:
    """All that a stage must know of the run to build itself."""

    stage: int
    num_stages: int
    first: int
    """Its first unit."""
    end: int
    """The unit behind its last."""
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
    borrowed: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Shared parameters that another stage owns and updates, by that stage."""
    lent: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Shared parameters of this stage that other stages use too, by those stages."""

    @property
    def trains_before(self) -> bool:
        """Whether an earlier stage trains anything, and so waits for gradients."""
        return not self.trained.isdisjoint(self.units.parameters(0, self.first))

    @property
    def trains(self) -> bool:
        """Whether this stage or an earlier one trains anything: otherwise its forwards leave nothing to go back."""
        return self.trains_before or not self.trained.isdisjoint(self.units.parameters(self.first, self.end))


def stage_specs(
    units: Units,
    bounds: Sequence[int],
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
) -> list[StageSpec]:
    """One for each stage; what stages share is owned by the first that needs it.

    Args:
        bounds: the first unit of every stage, and the number of units.
        trained: names of the parameters that are trained.
        adapter: PEFT's configuration of the adapter that the model has.
    """
    # What stays as it is need not be summed: each stage has its copy.
    shared = {name: stages for name, stages in shared_parameters(units, bounds).items() if name in trained}
    specs = []
    for j, (first, end) in enumerate(pairwise(bounds)):
        borrowed, lent = borrowed_and_lent(shared, j)
        specs.append(
            StageSpec(
                stage=j,
                num_stages=len(bounds) - 1,
                first=first,
                end=end,
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
                borrowed=borrowed,
                lent=lent,
            )
        )
    return specs


def held(units: Units, spec: StageSpec) -> tuple[str, ...]:
    """Names of the parameters that a stage holds: those of its units, and what every stage reads."""
    return (*units.parameters(spec.first, spec.end), *units.constants)
