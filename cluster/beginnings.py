"""All that actors get before their first step: of a new run, of one that goes on, or after everything was lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from cluster.copies import Salvaged
from cluster.fleet import ReplicaPlan, Start
from cluster.handover import Named
from cluster.preparation import Preparation
from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.plan.forecast import Forecast
from pipelines.plan.pipeline import Pipeline
from pipelines.plan.plan import Cut, Plan
from pipelines.train.checkpoint import Checkpoint, saved
from pipelines.train.checkpoint_choose import choose
from pipelines.train.local import localised
from pipelines.train.parameter_shards import Owners
from pipelines.train.specs import StageSpec, stage_specs


class Beginnings:
    """Of one run with one plan."""

    def __init__(self, run: Preparation, config: Config, plan: Plan, forecast: Forecast | None) -> None:
        self._run, self._config = run, config
        self._adapter = run.model.adapter(num_steps=run.num_steps)
        # A schedule that is made for measured times is to be the one that was planned.
        if forecast is None:
            pipelines = [Pipeline(tuple(cut.stage_of)) for cut in plan.replicas]
        else:
            pipelines = [predictor.pipeline for predictor in forecast.replicas]
        self._replicas = [
            ReplicaPlan(partial(self._specs, cut), pipeline, cut.schedule)
            for cut, pipeline in zip(plan.replicas, pipelines, strict=True)
        ]

    def at(self, checkpoint: Checkpoint | Salvaged | None) -> Start:
        """Where a checkpoint is, or what was salvaged; the untrained model when None."""
        model = self._run.model

        def state(names: Sequence[str]) -> tuple[Named, Named]:
            held = self._run.held_back(names)
            if checkpoint is None:
                return model.weights(names).items(), held
            frozen = model.weights(name for name in names if name not in model.trained)
            return chain(frozen.items(), checkpoint.weights(names)), chain(checkpoint.moments(names), held)

        version = 0 if checkpoint is None else checkpoint.step
        return Start(self._replicas, model.padding, state, model.shapes(), version)

    def _specs(self, cut: Cut, owners: Owners) -> list[StageSpec]:
        run = self._run
        specs = stage_specs(
            run.model.units,
            cut.bounds,
            cut.stage_of,
            head=run.head(),
            model_class=run.model.model_class,
            model_config=run.model.config,
            dtype=self._config.model.dtype,
            train=self._config.train,
            seed=self._config.run.seed,
            num_steps=run.num_steps,
            trained=frozenset(run.model.trained),
            adapter=self._adapter,
            compress=self._config.plan.compress,
            owners=owners,
        )
        chosen = [stage.local for stage in cut.stages if stage.local is not None]
        return localised(specs, self._config.train, chosen)


def newest(folder: Path, tell: Callable[[str], None]) -> Checkpoint | None:
    """The newest good checkpoint of the run in `folder`; `tell` is told of damaged ones that are passed over."""
    if not saved(folder):
        return None
    try:
        chosen = choose(folder)
    except UserError as error:
        tell(str(error))
        return None
    for sentence in chosen.passed_over:
        tell(sentence)
    return chosen.checkpoint
