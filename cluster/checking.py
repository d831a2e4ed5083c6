"""Cut a model over real actors, train it beside the plain model, and say how far apart they end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cluster.crew import StageCrew
from cluster.placement import wanted
from cluster.session import connected
from pipelines.check.compare import BOUNDS, MIXED, Report, Results, StageFacts, compare
from pipelines.check.load import Subject, load_subject
from pipelines.check.plain import Plain
from pipelines.config import TrainConfig
from pipelines.errors import UserError
from pipelines.model.examples import example_batches
from pipelines.model.freeze import trained
from pipelines.model.load import config_of
from pipelines.model.units import Units, find_units
from pipelines.model.verify import verify
from pipelines.plan.pipeline import Pipeline
from pipelines.plan.placed import placed
from pipelines.plan.plan import Cut, inside_blocks, make_plan
from pipelines.plan.schedules import make_schedule
from pipelines.plan_settings import PlanConfig
from pipelines.tasks.own_loss import OwnLoss
from pipelines.train.events import step_loss
from pipelines.train.executor import StepOrder
from pipelines.train.specs import StageSpec, held, stage_specs

NUM_MICRO_BATCHES = 4
TRAIN = TrainConfig(learning_rate=1e-3, warmup=0.0, decay="constant", clip=1.0)
Batches = list[dict[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Trial:
    """A model with all that is needed to run it cut and plain."""

    source: str
    subject: Subject
    dtype: str
    adapter: str | None
    steps: int
    batches: Batches
    plain: Plain
    logits: Mapping[str, Tensor]
    """The plain model's, before any training."""
    units: Units
    plan: Cut
    config: PlanConfig

    @property
    def model(self) -> nn.Module:
        return self.subject.model


def check(
    source: str,
    *,
    task: str | None,
    stages: int,
    dtype: str,
    steps: int,
    inside: bool = False,
    adapter: str | None = None,
    place: Mapping[str, str] | None = None,
    gpus: int | None = None,
) -> Report:
    """Load a model, train it (or an adapter on it) cut and plain, and compare.

    Args:
        place: what must sit where, as `plan.place`; says how many stages there are.
        gpus: what a Ray that is started here is told to have.

    Raises:
        UserError: no such model, or one that cannot be tried out or cut.
    """
    trial = prepare(
        source, task=task, stages=stages, dtype=dtype, steps=steps, inside=inside, adapter=adapter, place=place
    )
    # First the actors: they get the weights that the plain model then changes.
    cut = run_cut(trial, gpus=gpus)
    return judge(trial, cut, run_plain(trial))


def prepare(
    source: str,
    *,
    task: str | None,
    stages: int,
    dtype: str,
    steps: int,
    inside: bool = False,
    adapter: str | None = None,
    place: Mapping[str, str] | None = None,
) -> Trial:
    """Load a model, put an adapter onto it, and find where to cut it: between blocks, `inside` of them, or by `place`.

    Raises:
        UserError: no such model, or one that cannot be tried out or cut.
    """
    if dtype not in BOUNDS:
        raise UserError(f"There is no precision {dtype!r} (--dtype); known: {', '.join(BOUNDS)}.")
    # The first pass, which updates nothing, has a number too.
    subject = load_subject(source, task=task, dtype=dtype, adapter=adapter, num_steps=steps + 1)
    batches = example_batches(subject.model, subject.task, count=NUM_MICRO_BATCHES)
    plain = Plain(subject.model, subject.task, batches, TRAIN, around=getattr(subject.adapted, "wrapper", None))
    logits = plain.logits()
    units = find_units(subject.model, batches[0])
    # All stages together take about one CPU: equality is asked for, not speed.
    chosen: dict[str, Any] = {"stages": stages} if not place else placed(units, place)
    stages = chosen["stages"]
    if stages > len(units):
        raise UserError(
            f"The model has only {len(units)} units, but {stages} stages are asked for. Lower --stages to at most "
            f"{len(units)}."
        )
    if inside:
        chosen["cut"] = inside_blocks(units, stages)
    config = PlanConfig(**chosen, cpus_per_stage=max(0.01, round(1 / stages, 2)), timeout=600)
    (plan,) = make_plan(units, config).replicas
    verify(subject.model, units, plan.bounds[1:-1], batches[0])
    return Trial(source, subject, dtype, adapter, steps, batches, plain, logits, units, plan, config)


def run_plain(trial: Trial) -> Results:
    """Train the plain model, here."""
    plain = trial.plain
    losses = [plain.backward()]
    gradients = plain.gradients()
    plain.forget_gradients()
    losses += [plain.step(number) for number in range(1, trial.steps + 1)]
    return Results(trial.logits, losses, gradients, plain.weights())


def run_cut(trial: Trial, *, gpus: int | None = None) -> Results:
    """The same on actors; the model here, not trained yet, only gives them their weights."""
    with connected(num_gpus=gpus) as started_here:
        # The task is for the library's classes that actors load while they start; any will do.
        devices, timeout = wanted(trial.config), trial.config.timeout
        crew = StageCrew(devices, TRAIN.task, may_grow=not started_here, timeout=timeout)
        try:
            return _train(trial, crew)
        finally:
            crew.close()


def judge(trial: Trial, cut: Results, plain: Results) -> Report:
    """Compare, by the bounds for the model's precision."""
    differences, left_out = compare(cut, plain, trial.plain.quietest, BOUNDS[trial.dtype])
    # Most models that compute in float32 inside do so in the same way cut and uncut, and keep the narrow bounds.
    wider = not all(found.ok for found in differences) and trial.dtype == "float64" and trial.plain.float32_inside()
    if wider:
        differences, left_out = compare(cut, plain, trial.plain.quietest, MIXED)
    return Report(
        model=trial.source,
        model_class=trial.subject.model_class,
        task=trial.subject.task,
        dtype=trial.dtype,
        adapter=trial.adapter,
        num_trained=sum(trained(trial.model).values()),
        steps=trial.steps,
        num_micro_batches=len(trial.batches),
        silenced=trial.subject.silenced,
        wider_for_float32=wider,
        losses=tuple(plain.losses),
        num_weights=sum(p.numel() for p in trial.model.parameters()),
        weights_left_out=left_out,
        stages=stage_facts(trial, cut),
        differences=differences,
    )


def _train(trial: Trial, crew: StageCrew) -> Results:
    seats = crew.meet()
    crew.build(_specs(trial), {}, [(_held(trial, spec).items(), ()) for spec in _specs(trial)])
    answers = crew.evaluate_batches(-1, trial.batches)
    logits = {
        f"micro-batch {i} row {r}": torch.tensor(row) for i, rows in enumerate(answers) for r, row in enumerate(rows)
    }
    schedule = make_schedule(trial.plan.schedule, Pipeline(tuple(trial.plan.stage_of)), len(trial.batches))
    losses = []
    gradients: dict[str, Tensor] = {}
    for step in range(trial.steps + 1):
        # The first pass goes without its update, so that the gradients are still there afterwards.
        kept = [[action for action in actions if step or action.kind != "update"] for actions in schedule]
        orders = [StepOrder(step, tuple(actions), trial.plain.num_targets) for actions in kept]
        reports = crew.run_batches(orders, trial.batches)
        losses.append(step_loss(reports))
        if step == 0:
            gradients = crew.take_gradients()
    peaks = crew.peaks()
    # What is not trained is on no stage, or stays there as it was.
    weights = {name: p.detach().clone() for name, p in trial.model.named_parameters()}
    weights |= dict(crew.weights())
    return Results(logits, losses, gradients, weights, peaks, [seat.device for seat in seats])


def _specs(trial: Trial) -> list[StageSpec]:
    return stage_specs(
        trial.units,
        trial.plan.bounds,
        trial.plan.stage_of,
        head=OwnLoss(trial.subject.task),
        model_class=trial.subject.model_class,
        model_config=config_of(trial.model),
        adapter=trial.subject.adapter,
        dtype=trial.dtype,
        train=TRAIN,
        seed=0,
        num_steps=trial.steps + 1,
        trained=frozenset(trained(trial.model)),
    )


def _held(trial: Trial, spec: StageSpec) -> dict[str, Tensor]:
    parameters = dict(trial.model.named_parameters())
    names = held(trial.units, spec)
    return {name: parameters[name].detach() for name in names} | dict(trial.model.named_buffers())


def stage_facts(trial: Trial, cut: Results) -> tuple[StageFacts, ...]:
    """What each stage holds, where it ran, and the most memory it had."""
    facts = []
    named = dict(trial.model.named_parameters())
    for plan, spec, memory, device in zip(trial.plan.stages, _specs(trial), cut.peaks, cut.devices, strict=True):
        names, values = plan.units, _held(trial, spec)
        facts.append(
            StageFacts(
                stage=spec.stage,
                first=names[0],
                last=names[-1],
                num_units=sum(end - first for first, end in plan.chunks),
                num_parameters=sum(value.numel() for name, value in values.items() if name in named),
                num_bytes=sum(value.nbytes for value in values.values()),
                memory=memory,
                device=device,
            )
        )
    return tuple(facts)
