"""A model that only answers, cut over actors of its own: a served one, or a teacher.

worker, or data shard: model --columns of a pass, in pieces--> stage 0 --> stage 1 --> ...
                             <-------------answers-----------------------------------
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.util.placement_group import PlacementGroup
from torch import Tensor
from transformers import PreTrainedModel

from cluster.crew import Reserved, StageCrew
from cluster.placement import wanted
from cluster.transport import Keys
from cluster.waiting import ActorLost
from pipelines.adapt.adapted import ADAPTER
from pipelines.config import TrainConfig
from pipelines.errors import UserError
from pipelines.inference.elsewhere import Answers, compute_elsewhere, together
from pipelines.model.load import config_of, without_augmentation, without_caches
from pipelines.model.units import find_units, one_unit
from pipelines.model.verify import verify
from pipelines.plan.plan import make_plan
from pipelines.plan_settings import PlanConfig
from pipelines.tasks.task import Task
from pipelines.train.specs import StageSpec, held, stage_specs

logger = logging.getLogger(__name__)

FIRST_BUNDLE = 1
"""Of a worker's placement group: before it is the worker's own."""
SHARE = 0.25
"""Of its device that each stage of a worker reserves: versions that change are on the devices together for a while."""


def cut(
    model: Any, task: Task, source: str, plan: PlanConfig, *, here: PlacementGroup | None = None,
    lost: Callable[[], None] = lambda: None,
) -> Callable[[], None]:  # fmt: skip
    """Spread a model over devices; it holds no weights afterwards, and answers as before.

    Args:
        source: that it was loaded from.
        here: the placement group of the worker whose model it is; one of its own when left out.
        lost: is called when a stage died, and the model can answer no more.

    Returns:
        Ends the stages.

    Raises:
        UserError: the model cannot be cut, or not so, or the cluster lacks what the plan asks for.
        TimeoutError: an actor did not start in time.
    """
    if not isinstance(model, PreTrainedModel) or (Path(source) / ADAPTER).is_dir():
        raise UserError(
            f"The model in {source} is a graph or has an adapter beside its weights, and cannot be cut: leave its plan "
            "out."
        )
    without_caches(model)
    without_augmentation(model)
    probe = task.probe(task.load_processor(source))
    # In one piece any model will do.
    units = one_unit(model) if plan.stages == 1 else find_units(model, probe)
    (chosen,) = make_plan(units, plan).replicas
    verify(model, units, chosen.bounds[1:-1], probe)
    specs = stage_specs(
        units, chosen.bounds, chosen.stage_of, head=Answers(), model_class=type(model).__name__,
        model_config=config_of(model), dtype=str(model.dtype).removeprefix("torch."), train=TrainConfig(), seed=0,
        num_steps=1, trained=frozenset(),
    )  # fmt: skip
    stages = _Stages(plan, specs, here, lost)
    try:
        stages.build(model)
    except BaseException:
        stages.close()
        raise
    compute_elsewhere(model, stages.ask, takes=tuple(probe))
    return stages.close


class _Stages:
    """The crew of one model; whoever asks has his turn."""

    def __init__(
        self, plan: PlanConfig, specs: Sequence[StageSpec], here: PlacementGroup | None, lost: Callable[[], None]
    ) -> None:
        reserved = None if here is None else Reserved(0, here, FIRST_BUNDLE, Keys.new(), share=SHARE)
        # The task is for the library's classes that actors load while they start; any will do.
        task = TrainConfig().task
        self._crew = StageCrew(wanted(plan), task, may_grow=True, timeout=plan.timeout, reserved=reserved)
        self._specs, self._lost = specs, lost
        self._calls = 0
        self._turn = threading.Lock()

    def build(self, model: PreTrainedModel) -> None:
        parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
        weights = [
            {name: parameters[name].detach() for name in held(spec.units, spec)} | buffers for spec in self._specs
        ]
        self._crew.meet()
        self._crew.build(self._specs, {}, [(own.items(), ()) for own in weights])

    def ask(self, columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The model's answers to a batch [rows, ...]: in as many pieces as keep all stages busy."""
        rows = len(next(iter(columns.values())))
        size = math.ceil(rows / min(rows, len(self._specs)))
        batches = [
            {name: column[at : at + size].clone() for name, column in columns.items()} for at in range(0, rows, size)
        ]
        with self._turn:
            # Negative, so that it is no step's.
            self._calls -= 1
            try:
                answers = self._crew.evaluate_batches(self._calls, batches)
            except (ActorLost, TimeoutError) as error:
                logger.error("A stage of the model is lost: %s", error)
                self._lost()
                raise
            except Exception:
                # One of them failed, and the others wait for what it would have sent.
                self._crew.interrupt()
                self._crew.meet()
                self._crew.build(self._specs, {}, [((), ()) for _ in self._specs])
                raise
        return together([row for rows in answers for row in rows])

    def close(self) -> None:
        self._crew.close()
