"""One plan in force: the actors that follow it, and what is predicted of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from cluster.devices import offering
from cluster.fleet import Fleet
from cluster.make_fleet import make_fleet
from cluster.placement import Wanted, check_room, seats_of, servers_of, wanted
from cluster.planning import forecast_of, plan_run
from cluster.preparation import Preparation
from pipelines.plan.choose import Choice
from pipelines.plan.fewer import fewer
from pipelines.plan.forecast import Forecast
from pipelines.plan.local import local_of
from pipelines.plan.plan import Plan, make_plan, with_local
from pipelines.plan.sharing import settled
from pipelines.plan_settings import PlanConfig
from pipelines.report.observer import Observer


class Course:
    """What a run follows to its end, or until the plan no longer fits the cluster."""

    def __init__(self, run: Preparation, config: PlanConfig, fleet: Fleet) -> None:
        """Use `found` or `given`, which start the actors."""
        self._run, self.config, self.fleet = run, config, fleet
        self.plan: Plan
        self.forecast: Forecast | None = None
        self.nodes = offered()
        """What the cluster had when this was planned, used or not."""

    @staticmethod
    def found(run: Preparation, choice: Choice, *, may_grow: bool) -> Course:
        """Start the actors of a plan that was found.

        Raises:
            UserError: the cluster has not got what the plan asks for.
        """
        config = settled(run.config.plan, choice.plan)
        servers = servers_of(config, choice.plan.server_nodes)
        course = Course(run, config, _fleet(run, seats_of(choice.plan), servers, config, may_grow=may_grow))
        course.plan, course.forecast = choice.plan, choice.forecast
        return course

    @staticmethod
    def given(run: Preparation, config: PlanConfig, *, may_grow: bool) -> Course:
        """Start the actors of a plan that a person gave; `cut` comes when the model is there.

        Raises:
            UserError: the cluster has not got what the plan asks for.
        """
        assert config.replicas != "auto"
        seats = [replace(seat, threads=local_of(run.config, seat.kind).threads) for seat in wanted(config)]
        fleet = _fleet(run, [seats] * config.replicas, servers_of(config, ()), config, may_grow=may_grow)
        return Course(run, config, fleet)

    def cut(self) -> None:
        """Cut the model as the person says who gave the plan.

        Raises:
            UserError: it cannot be cut so.
        """
        model = self._run.model
        self.plan = with_local(make_plan(model.units, self.config, model.trained), self._run.config)

    def meet(self) -> None:
        """Wait for the actors.

        Raises:
            UserError: the model, cut so, does not answer as it does in one piece.
        """
        for bounds in {tuple(cut.bounds) for cut in self.plan.replicas}:
            self._run.model.prove(bounds[1:-1])
        self._seats = self.fleet.meet()
        if self.forecast is None and not self.config.servers:
            nodes = [seat.node for seat in self._seats]
            self.forecast = forecast_of(self._run.config, self._run, self.plan.replicas[0], nodes)

    def describe(self) -> dict[str, Any]:
        """The plan with each stage's real device, when the fleet is built."""
        stages = [[asdict(stage) for stage in cut.stages] for cut in self.plan.replicas]
        return self.plan.to_json() | self.fleet.describe(stages, self._seats)


def another(run: Preparation, observer: Observer, choice: Choice | None, *, may_grow: bool) -> Course:
    """The next course of a run, for the nodes that there are now.

    Args:
        choice: a plan that was found already; made here when None, where a plan is to be found.

    Raises:
        UserError: there is no plan for these nodes.
    """
    if run.config.plan.stages == "auto":
        choice = choice or plan_run(run)
        observer.planned(choice)
        return Course.found(run, choice, may_grow=may_grow)
    course = Course.given(run, smaller(run.config.plan, may_grow=may_grow), may_grow=may_grow)
    course.cut()
    return course


def offered() -> frozenset[str]:
    """Ray's ids of the nodes that stages may sit on."""
    return frozenset(node["NodeID"] for node in offering())


def smaller(config: PlanConfig, *, may_grow: bool) -> PlanConfig:
    """A given plan with as many stages and replicas as the nodes that are left have room for.

    Raises:
        UserError: not even for one stage; says what was asked and what there is.
    """
    rooms = [(float(r.get("CPU", 0)), int(r.get("GPU", 0))) for r in (node["Resources"] for node in offering())]
    left = fewer(config, rooms)
    if left is None:
        # Where nodes may come it is waited for them.
        check_room(wanted(config), may_grow=may_grow)
    return left or config


def _fleet(
    run: Preparation,
    devices: Sequence[Sequence[Wanted]],
    servers: Sequence[Wanted],
    config: PlanConfig,
    *,
    may_grow: bool,
) -> Fleet:
    task, recovery = run.config.train.task, run.config.recovery
    return make_fleet(devices, servers, config, task, run.data, may_grow=may_grow, recovery=recovery)
