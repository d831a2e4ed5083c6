"""The plan for measured devices: exact over cuts and devices, then simulated with every schedule.

    measured unit times, devices ──▶ problem ──▶ the best pipelines (solve.py, exact by its formula)
                                                   │  a handful that differ in devices and number of stages
                                                   ▼
                       real micro-batch shapes ──▶ simulated with each schedule ──▶ plan

The formula of the problem knows no schedule and takes all micro-batches alike; the simulation knows both. Where energy
or money is to be least, the handful is larger: for each number of devices of each type the fastest pipeline, which is
the cheapest with these devices (and nearly the one that draws least).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from math import prod
from statistics import fmean

from pipelines.device_settings import EnergyConfig
from pipelines.errors import UserError
from pipelines.model.units import Units
from pipelines.plan.alternating import in_groups
from pipelines.plan.closest import explain
from pipelines.plan.devices import Device
from pipelines.plan.forecast import Forecast
from pipelines.plan.measured import Measured, Shape
from pipelines.plan.objective import make_objective, told
from pipelines.plan.pipeline import Schedule
from pipelines.plan.plan import Cut, Plan, StagePlan, stage_parts, unit_costs
from pipelines.plan.predict import Predictor, Seating, largest_shape, mean_shape
from pipelines.plan.problem import Problem, make_problem
from pipelines.plan.roles import allowed, alternates
from pipelines.plan.schedules import SCHEDULES
from pipelines.plan.seats import seat
from pipelines.plan.simulate import Simulated, fits
from pipelines.plan.solve import Solution, best_pipeline, best_pipelines
from pipelines.plan.windows import INFINITE
from pipelines.plan_settings import PlanConfig

CANDIDATES = 8
"""Pipelines that are simulated, of those that are best by the formula."""
THRIFTY = 128
"""The same where time is not what counts: slow pipelines of few devices may be best."""
FINALISTS = 2
"""Of these, those that a schedule of their own is made for."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A plan, and what a step of it is predicted to be like."""

    plan: Plan
    actions: Schedule
    """Of a step of ordinary micro-batches, for the stages of all replicas."""
    simulated: Simulated
    """When each of them runs."""
    forecast: Forecast
    """For the steps to come."""
    value: float
    """What is to be least, of a step, in the mean."""


@dataclass(frozen=True, slots=True)
class _Tried:
    predictor: Predictor
    schedule: str
    """The fastest of those that were tried."""
    seconds: float
    """Predicted of a step, in the mean; infinite where no schedule keeps the devices' memory."""
    value: float
    """What is to be least, of a step, in the mean."""


class Chooser:
    """Plans for one model on the devices of one cluster."""

    def __init__(
        self,
        measured: Measured,
        devices: Sequence[Device],
        units: Units,
        config: PlanConfig,
        trained: Mapping[str, int] | None,
        energy: EnergyConfig | None = None,
        *,
        rounds: int = 1,
    ) -> None:
        """
        Args:
            rounds: how often a step runs its micro-batches.

        Raises:
            UserError: `config.place` names what there is not, or money is to be least and a price is not known.
        """
        self._measured, self._units, self._config, self._trained = measured, units, config, trained
        self._rounds = rounds
        known = {kind.name: kind.kind for kind in measured.types}
        self._seat_on([device for device in devices if device.type in known])
        self._types = [name for name in known if self._count[name]]
        if not self._types:
            raise UserError(f"plan.at_most={config.at_most} leaves no device at all.")
        self._energy = energy or EnergyConfig()
        kinds = [kind for kind in measured.types if kind.name in self._types]
        self._objective = make_objective(config.minimise, kinds, self._energy)
        self._open_to = allowed(units, config.place, self._types, [known[name] for name in self._types])

    def _seat_on(self, devices: Sequence[Device], others: Sequence[Device] = ()) -> None:
        self.devices = _at_most(devices, self._config.at_most)
        self._count = Counter(device.type for device in self.devices)
        self._beside = Counter((device.node, device.type) for device in others)

    def among(self, devices: Sequence[Device], others: Sequence[Device] = ()) -> Chooser:
        """The same for some of the devices only.

        Args:
            others: devices of the same nodes that work as well.
        """
        some = copy(self)
        some._seat_on(devices, others)
        return some

    @property
    def alternates(self) -> bool:
        """Whether places alternate along the model, so that stages hold several chunks."""
        return alternates(self._open_to)

    def choose(self, steps: Sequence[Sequence[Shape]], largest: Shape | None = None) -> Choice:
        """The best plan for steps of micro-batches of these shapes.

        Args:
            largest: of all micro-batches that there will be, the one that there must be room for; that of `steps` when
                left out.

        Raises:
            UserError: the model does not fit; says what is closest to fitting.
        """
        problem = self.problem(steps, largest)
        seatings = list(self._seatings(problem))
        if not seatings:
            raise UserError(explain(problem, [unit.name for unit in self._units.all]))
        quick, slow = self._schedules()
        tried = [self._try(seating, quick, steps) for seating in seatings]
        tried.sort(key=lambda one: one.value)
        # To make a schedule for the costs takes longer than to look at those that are there.
        finalists = [self._try(one.predictor.seating, [*quick, *slow], steps) for one in tried[:FINALISTS]]
        best = min(finalists, key=lambda one: one.value)
        if best.seconds == INFINITE:
            raise UserError(
                "No schedule keeps the memory of devices that the model would fit on; these were tried: "
                f"{', '.join([*quick, *slow])}. Leave plan.schedule=auto, or give smaller micro-batches: a larger "
                "train.micro_batches."
            )
        return self._plan(best, steps, tuple(self._left_out(problem, best, steps)))

    def problem(self, steps: Sequence[Sequence[Shape]], largest: Shape | None = None) -> Problem:
        """What the search for a pipeline is asked; arguments as of `choose`."""
        shapes = [shape for step in steps for shape in step]
        self._ordinary, self._largest = mean_shape(shapes), largest or largest_shape(shapes)
        return make_problem(
            self._measured,
            self._types,
            [self._count[name] for name in self._types],
            self._ordinary,
            largest=self._largest,
            num_micro_batches=round(fmean(map(len, steps))),
            allowed=self._open_to,
        )

    def _seatings(self, problem: Problem) -> Iterator[Seating]:
        if self.alternates:
            yield from self._alternating()
        else:
            yield from (self._seating(found.stages) for found in self._pipelines(problem))

    def _pipelines(self, problem: Problem) -> list[Solution]:
        fast = best_pipelines(problem, CANDIDATES)
        if self._config.minimise == "time":
            return fast
        few = best_pipelines(replace(problem, count=_few(problem.count, THRIFTY)), THRIFTY, within=INFINITE)
        return list({found.stages: found for found in (*fast, *few)}.values())

    def _schedules(self) -> tuple[list[str], list[str]]:
        if self._config.schedule != "auto":
            return [self._config.schedule], []
        return [name for name in SCHEDULES if name != "synthesised"], ["synthesised"]

    def _try(self, seating: Seating, schedules: Sequence[str], steps: Sequence[Sequence[Shape]]) -> _Tried:
        predictor = Predictor(self._measured, seating, self._ordinary, self._largest, self._beside, rounds=self._rounds)
        best = _Tried(predictor, schedules[0], INFINITE, INFINITE)
        for schedule in schedules:
            # One that breaks a device's memory is no choice.
            with suppress(UserError):
                results = [predictor.step(schedule, step) for step in steps]
                value = fmean(self._objective(seating.types, result) for result in results)
                if value < best.value and fits(results[0], predictor.pipeline):
                    best = _Tried(predictor, schedule, fmean(result.seconds for result in results), value)
        return best

    def _seating(self, stages: Sequence[tuple[int, int, int]]) -> Seating:
        types = [self._types[k] for k, _, _ in stages]
        bounds = (0, *(end for _, _, end in stages))
        nodes = tuple(device.node for device in seat(types, self.devices))
        return Seating(bounds, tuple(range(len(stages))), tuple(types), nodes)

    def _alternating(self) -> Iterator[Seating]:
        """For every number of groups that there are devices for, each stage on a type that it may sit on."""
        costs = unit_costs(self._units, self._trained)
        for num_groups in range(1, len(self.devices) + 1):
            found = in_groups(self._open_to, costs, num_groups)
            if found is None:
                return
            bounds, stage_of, choices = found
            left = Counter(self._count)
            types: list[str] = []
            for choice in choices:
                fit = [name for name, may in zip(self._types, choice, strict=True) if may and left[name]]
                if not fit:
                    return
                types.append(min(fit, key=self.seconds_of_all))
                left[types[-1]] -= 1
            nodes = tuple(device.node for device in seat(types, self.devices))
            yield Seating(tuple(bounds), tuple(stage_of), tuple(types), nodes)

    def seconds_of_all(self, name: str) -> float:
        """How slow a type is: the whole model's forward and backward in the first shape that was measured."""
        (kind,) = (kind for kind in self._measured.types if kind.name == name)
        return sum(kind.times[0].forward) + sum(kind.times[0].backward) + sum(kind.times[0].weights)

    def _left_out(self, problem: Problem, best: _Tried, steps: Sequence[Sequence[Shape]]) -> Iterator[str]:
        """Of every type with devices that are not used, what it would be like to use one more."""
        used = Counter(best.predictor.seating.types)
        for k, name in enumerate(self._types):
            spare = self._count[name] - used[name]
            if not spare:
                continue
            what = f"{spare} of {self._count[name]} {name} left out"
            found = None if self.alternates else best_pipeline(problem, at_least={k: used[name] + 1})
            if found is None:
                yield f"{what}: no pipeline with one more of them keeps all limits of memory and place."
                continue
            one_more = self._try(self._seating(found.stages), [best.schedule], steps)
            verb = "cost" if self._config.minimise == "money" else "take"
            would, now = (told(self._config.minimise, one.value, self._energy.currency) for one in (one_more, best))
            yield f"{what}: with one more of them a step would {verb} {would}, which is not less than {now}."

    def _plan(self, best: _Tried, steps: Sequence[Sequence[Shape]], left_out: tuple[str, ...]) -> Choice:
        predictor, seating = best.predictor, best.predictor.seating
        # The step that takes about as long as the mean of all.
        ordinary = min(steps, key=lambda step: abs(predictor.step(best.schedule, step).seconds - best.seconds))
        simulated = predictor.step(best.schedule, ordinary)
        parts = stage_parts(self._units, seating.bounds, seating.stage_of, self._trained)
        by_type = {device.type: device for device in self.devices}
        stages = []
        for j, part in enumerate(parts):
            device = by_type[seating.types[j]]
            stages.append(
                StagePlan(
                    **part,
                    device=device.type,
                    kind=device.kind,
                    cpus=device.cpus,
                    node=seating.nodes[j],
                    busy=round(simulated.busy[j] / simulated.seconds, 4),
                    needs=predictor.held(j) + simulated.peak_bytes[j],
                    limit=predictor.memory(j),
                )
            )
        minimise = self._config.minimise
        least = None if minimise == "time" else told(minimise, best.value, self._energy.currency)
        plan = Plan((Cut(tuple(stages), best.schedule),), best.seconds, least, left_out)
        actions = predictor.actions(best.schedule, len(ordinary))
        return Choice(plan, actions, simulated, Forecast((predictor,), (best.schedule,)), best.value)


def _few(count: Sequence[int], most: int) -> tuple[int, ...]:
    """Fewer devices, so that there are about `most` ways to use some of them: the largest numbers are halved."""
    few = list(count)
    while prod(number + 1 for number in few) > most and max(few) > 1:
        few[few.index(max(few))] //= 2
    return tuple(few)


def _at_most(devices: Sequence[Device], limits: Mapping[str, int]) -> list[Device]:
    """Devices until the limit of their type, and that of their kind, is reached."""
    taken: Counter[str] = Counter()
    kept = []
    for device in devices:
        if all(taken[name] < limits.get(name, len(devices)) for name in (device.type, device.kind)):
            kept.append(device)
            taken.update((device.type, device.kind))
    return kept
