"""The plan of several replicas with parameter servers: each for its own devices, with its own part of every step.

    devices ─▶ room for servers ─▶ divided, exactly by the formula ─▶ each planned for its part of real steps
               (server_room.py)    (replicas.py)                      (choose.py)       │
                                                                                        ▼
               one replica over all devices ──────────────────────────────────────▶ compared

What the formula of a pipeline does not know, the simulation does, here too: so `replicas: auto` takes the best division
by the formula only if its step is predicted to be shorter than that of one replica.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from pipelines.errors import UserError
from pipelines.plan.choose import Choice, Chooser
from pipelines.plan.devices import Device
from pipelines.plan.forecast import Forecast
from pipelines.plan.measured import Measured, Shape
from pipelines.plan.plan import Cut, Plan
from pipelines.plan.replicas import Exchange, Replicated, best_replicas
from pipelines.plan.seats import seat
from pipelines.plan.server_room import keep_room, told_room
from pipelines.plan.simulate import Simulated
from pipelines.plan.waves import split_in_waves
from pipelines.plan_settings import PlanConfig

MOST = 8
"""Replicas that `auto` looks at."""


@dataclass(frozen=True, slots=True)
class _Room:
    """What is left beside the servers."""

    devices: Sequence[Device]
    server_nodes: tuple[str, ...]
    notes: tuple[str, ...]


class Replicator:
    """Plans as a Chooser does, for as many replicas as the config asks for, or as are best."""

    def __init__(
        self,
        chooser: Chooser,
        measured: Measured,
        devices: Sequence[Device],
        config: PlanConfig,
        *,
        spare: Mapping[str, float],
        num_bytes: float,
    ) -> None:
        """
        Args:
            chooser: for all devices.
            spare: CPUs of each node that no device has.
            num_bytes: that a replica sends to the servers in a step, and gets back.
        """
        self._chooser, self._devices, self._config, self._spare = chooser, devices, config, spare
        self._exchange = make_exchange(measured, config, num_bytes)

    def choose(self, steps: Sequence[Sequence[Shape]], largest: Shape | None = None) -> Choice:
        """The best plan for steps of micro-batches of these shapes; arguments as of `Chooser.choose`.

        Raises:
            UserError: the model does not fit so often, or servers have no room.
        """
        wanted = self._config.replicas
        if wanted == 1:
            return self._one_with_servers(steps, largest)
        alone = self._chooser.choose(steps, largest)
        if wanted != "auto":
            several = self._several([wanted], steps, largest)
            return _because(several, _told(several, alone))
        try:
            several = self._several(range(2, MOST + 1), steps, largest)
        except UserError as reason:
            return _because(alone, f"One replica, without parameter servers. {reason}")
        better = min(alone, several, key=_seconds)
        return _because(better, _told(several, alone))

    def _one_with_servers(self, steps: Sequence[Sequence[Shape]], largest: Shape | None) -> Choice:
        room = self._keep_room()
        choice, exchange = self._chooser.among(room.devices).choose(steps, largest), self._exchange.served(1)
        plan = replace(
            choice.plan,
            seconds=_seconds(choice) + exchange,
            server_nodes=room.server_nodes,
            left_out=(*room.notes, *choice.plan.left_out),
        )
        # Of energy and money, what servers take is not known.
        value = choice.value + (exchange if self._config.minimise == "time" else 0.0)
        return replace(choice, plan=plan, forecast=replace(choice.forecast, exchange=exchange), value=value)

    def _keep_room(self) -> _Room:
        config = self._config
        speed = {name: 1 / self._chooser.seconds_of_all(name) for name in {d.type for d in self._devices}}
        left, nodes = keep_room(
            self._devices, self._spare, speed, num_servers=config.servers, cpus=config.cpus_per_server
        )
        return _Room(left, nodes, tuple(told_room(self._devices, left)))

    def _several(self, numbers: Sequence[int], steps: Sequence[Sequence[Shape]], largest: Shape | None) -> Choice:
        if self._chooser.alternates:
            raise UserError(
                "What plan.place keeps apart takes turns along the model, and plans for that are of one replica: set "
                "plan.replicas=1, or change plan.place."
            )
        room = self._keep_room()
        among = self._chooser.among(room.devices)
        problem = among.problem(steps, largest)
        found = best_replicas(problem, self._exchange, numbers=numbers)
        if found is None:
            raise UserError(
                f"There is no way to have {min(numbers)} replicas: each holds the whole model on devices of its own "
                f"({len(among.devices)} are left beside the servers) and gets at least one micro-batch of every step "
                f"({problem.num_micro_batches} in the mean). Ask for fewer with plan.replicas, add devices, or raise "
                "train.micro_batches."
            )
        found = self._in_order(found)
        number = len(found.replicas)
        shares = self._shares(found)
        hands = _hands(among.devices, problem.types, found)
        choices = []
        for r, mine in enumerate(hands):
            others = [device for q, hand in enumerate(hands) if q != r for device in hand]
            parts = [_part(step, shares, r) for step in steps]
            choices.append(among.among(mine, others).choose([part for part in parts if part], largest))
        return self._together(choices, room, shares, self._exchange.served(number), steps)

    def _in_order(self, found: Replicated) -> Replicated:
        """The largest of the shares that a person gave to whom manages most, and so on."""
        given = self._config.shares
        if given is None:
            return found
        able = sorted(found.replicas, key=lambda replica: -replica.num_micro_batches)
        ranks = sorted(range(len(given)), key=lambda r: -given[r])
        order = {r: able[rank] for rank, r in enumerate(ranks)}
        return replace(found, replicas=tuple(order[r] for r in range(len(given))))

    def _shares(self, found: Replicated) -> tuple[float, ...]:
        """One for each wave of a step."""
        if self._config.sharing == "async":
            return (1.0,)
        if self._config.shares is not None:
            return self._config.shares
        if self._config.sharing == "bounded":
            # Any replica may run any wave.
            return (1.0,) * len(found.replicas)
        return tuple(float(replica.num_micro_batches) for replica in found.replicas)

    def _together(
        self,
        choices: Sequence[Choice],
        room: _Room,
        shares: tuple[float, ...],
        exchange: float,
        steps: Sequence[Sequence[Shape]],
    ) -> Choice:
        forecast = Forecast(
            tuple(predictor for choice in choices for predictor in choice.forecast.replicas),
            tuple(choice.plan.schedule for choice in choices),
            shares,
            self._config.sharing,
            exchange,
        )
        seconds = fmean(map(forecast.seconds, steps))
        plan = Plan(
            tuple(_of_the_step(choice, seconds if self._config.sharing == "sync" else None) for choice in choices),
            seconds,
            left_out=(
                *room.notes,
                *(f"replica {r}: {line}" for r, choice in enumerate(choices) for line in choice.plan.left_out),
            ),
            shares=shares if self._config.sharing == "sync" else self._config.shares,
            server_nodes=room.server_nodes,
        )
        simulated = Simulated(
            [spans for choice in choices for spans in choice.simulated.times],
            tuple(peak for choice in choices for peak in choice.simulated.peak_bytes),
        )
        # Of several replicas only the time is made least.
        return Choice(plan, [actions for choice in choices for actions in choice.actions], simulated, forecast, seconds)


def make_exchange(measured: Measured, config: PlanConfig, num_bytes: float) -> Exchange:
    """What replicas and servers send each other, over the slowest of the links that were measured."""
    names = [kind.name for kind in measured.types]
    links = [measured.link(one, other) for k, one in enumerate(names) for other in names[k:]]
    return Exchange(
        num_bytes,
        per_byte=max(1 / link.bandwidth for link in links),
        latency=max(link.latency for link in links),
        num_servers=config.servers,
    )


def _hands(devices: Sequence[Device], types: Sequence[str], found: Replicated) -> list[list[Device]]:
    """The devices of each replica, on one node where there is room."""
    left, hands = list(devices), list[list[Device]]()
    for replica in found.replicas:
        wanted = [name for name, number in zip(types, replica.devices, strict=True) for _ in range(number)]
        hands.append(seat(wanted, left))
        for device in hands[-1]:
            left.remove(device)
    return hands


def _part(step: Sequence[Shape], shares: Sequence[float], r: int) -> Sequence[Shape]:
    """The micro-batches of a step that a replica gets; none where there are fewer than replicas."""
    waves = split_in_waves(len(step), shares)
    mine = [wave for wave in waves if wave.replica == r] if len(shares) > 1 else waves
    return [shape for wave in mine for shape in step[wave.first : wave.end]]


def _of_the_step(choice: Choice, seconds: float | None) -> Cut:
    """A replica, its stages busy against the whole step that it waits for, or its own where it waits for nobody."""
    (cut,) = choice.plan.replicas
    if seconds is None or choice.plan.seconds is None:
        return cut
    part = choice.plan.seconds / seconds
    stages = tuple(replace(s, busy=None if s.busy is None else round(s.busy * part, 4)) for s in cut.stages)
    return replace(cut, stages=stages)


def _seconds(choice: Choice) -> float:
    assert choice.plan.seconds is not None
    return choice.plan.seconds


def _told(several: Choice, alone: Choice) -> str:
    """Why there are several replicas, or why not."""
    number, servers = len(several.plan.replicas), len(several.plan.server_nodes)
    return (
        f"{number} replicas are predicted to take {_seconds(several):.3f} s a step, {several.forecast.exchange:.3f} s "
        f"of it to exchange weights and gradients with {servers} parameter server{'s' if servers > 1 else ''}; one "
        f"replica over all devices and without servers, {_seconds(alone):.3f} s."
    )


def _because(choice: Choice, why: str) -> Choice:
    return replace(choice, plan=replace(choice.plan, why=why))
