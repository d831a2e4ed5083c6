"""Find out how much each weight of a trained model matters for its training data, on stages as training has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray

from cluster.beginnings import Beginnings
from cluster.crew import StageCrew
from cluster.placement import seats_of, wanted
from cluster.planning import plan_run
from cluster.preparation import Preparation
from cluster.session import connected
from cluster.waiting import wait_for
from pipelines.check.load import silence
from pipelines.config import Config
from pipelines.data.batches import MicroBatch, Step
from pipelines.data.replay import sample as drawn
from pipelines.data.sources import sources
from pipelines.plan.plan import Plan, make_plan, with_local
from pipelines.plan.schedules import make_schedule
from pipelines.take_up import NEVER
from pipelines.train.executor import StepOrder
from pipelines.train.importance import Importance, write_importance
from pipelines.train.specs import held

AHEAD = 16
"""Examples that stages are sent at once."""


def estimate(config: Config, *, path: Path, sample: int, before: Path | None = None) -> None:
    """Write what pipelines/train/importance.py says, of a sample of the training split.

    The result does not depend on the cut: each stage squares the gradients of one example after the other.

    Args:
        config: of the run whose training split is meant, and, as `model.source`, the model that it ended with.
        path: where to write.
        sample: examples; all where there are no more.
        before: what earlier sets made so, to be added.

    Raises:
        UserError: data, model, plan or cluster are not what the config needs.
    """
    config = _to_measure(config)
    with connected() as started_here:
        run = Preparation(config)
        try:
            run.read()
            run.encode()
            if run.config.plan.stages == "auto":
                plan = plan_run(run).plan
                run.decide(plan)
                (seats,) = seats_of(plan)
            else:
                plan = with_local(make_plan(run.model.units, run.config.plan, run.model.trained), run.config)
                seats = wanted(run.config.plan)
            crew = StageCrew(seats, config.train.task, may_grow=not started_here, timeout=config.plan.timeout)
            try:
                rows = drawn(len(run.lengths["train"].lengths), sample, seed=config.run.seed, k=0)
                _square(run, plan, crew, rows)
                earlier = [] if before is None else [Importance(before, run.model.shapes())]
                write_importance(
                    path, crew.importance(), examples=len(rows), shapes=run.model.shapes(), earlier=earlier
                )
            finally:
                crew.close()
        finally:
            run.close()


def _to_measure(config: Config) -> Config:
    """The same, but of training data alone, in full precision, and with nothing held back."""
    train = config.train.model_copy(update={"ewc": None, "precision": "float32", "loss_scale": None})
    data = config.data.model_copy(
        update={"path": None, "train": sources(config.data)["train"], "dev": None, "test": None, "replay": None}
    )
    checkpoint = config.checkpoint.model_copy(update={"resume": NEVER})
    return config.model_copy(update={"train": train, "data": data, "devices": {}, "checkpoint": checkpoint})


def _square(run: Preparation, plan: Plan, crew: StageCrew, rows: list[int]) -> None:
    """Let the stages square the gradients of one example after the other; they keep the sums."""
    silence(run.model.config)
    start = Beginnings(run, run.config, plan, None).at(None)
    (replica,) = start.replicas
    crew.meet()
    specs = replica.make_specs(())
    crew.build(specs, start.padding, [start.state(held(spec.units, spec)) for spec in specs])
    # Without its update, a step leaves its gradients where they are.
    schedule = [
        tuple(action for action in actions if action.kind != "update")
        for actions in make_schedule(replica.schedule, replica.pipeline, 1)
    ]
    for first in range(0, len(rows), AHEAD):
        ended: dict[str, ray.ObjectRef[Any]] = {}
        for number, row in enumerate(rows[first : first + AHEAD], first):
            micro_batch = MicroBatch((row,), run.lengths["train"].lengths[row])
            weight = run.target_weight(Step((micro_batch,)))
            orders = [StepOrder(number, actions, weight) for actions in schedule]
            ran = crew.awaited(crew.start_step(orders, run.data.hand_out("train", [micro_batch])))
            squared = crew.awaited(crew.square_gradients())
            ended |= {f"{who} (example {number + 1})": ref for who, ref in ran.items()}
            ended |= {f"{who} (squares of example {number + 1})": ref for who, ref in squared.items()}
        wait_for(ended, to="find out which weights matter", timeout=run.config.plan.timeout)
