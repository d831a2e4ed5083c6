"""What a run drew, emitted and cost, by device: pure accounting of what stages report.

Where counters can be read they are used: a GPU's own, and a node's processors', shared among the stages on the node
by how much of its CPUs each kept busy. What cannot be read is estimated from busy and idle seconds, and said to be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipelines.device_settings import EnergyConfig
from pipelines.plan.price import JOULES_PER_KWH, WORLD, joules, kg_co2, money, price_of, watts_of
from pipelines.train.events import StageReport
from pipelines.train.meter import Counter


@dataclass(frozen=True, slots=True)
class Holding:
    """What a stage holds of its node."""

    node: str
    cpus: float
    gpu: str | None
    """The GPU's name; None for a stage that computes on CPUs."""
    type: str | None = None
    """The type of device in the plan, if it has a name of its own."""

    @property
    def names(self) -> tuple[str, ...]:
        """By which watts and prices may know it, the most special first."""
        special = [name for name in (self.type, self.gpu) if name is not None]
        return (*special, "cpu" if self.gpu is None else "gpu")


@dataclass(frozen=True, slots=True)
class Spent:
    """By one stage, or by all."""

    joules: float
    estimated: bool
    """Whether any part of `joules` was not measured."""
    kg_co2: float
    money: float | None
    """None where the price list lacks a device."""


@dataclass(frozen=True, slots=True)
class Energy:
    """Of a run."""

    all: Spent
    stages: tuple[Spent, ...]
    num_tokens: int
    seconds: float
    """From the first step's begin to the last one's end."""
    carbon_intensity: float
    """Grams a kilowatt-hour."""
    carbon_source: str
    currency: str
    unpriced: tuple[str, ...]
    """Devices that a price list was given without."""

    def per_thousand_tokens(self, amount: float) -> float:
        return amount * 1000 / max(1, self.num_tokens)

    def metrics(self) -> dict[str, float]:
        """For MLflow; an estimate has `estimated` in its name."""
        found: dict[str, float] = {}
        for prefix, spent in [
            ("energy", self.all),
            *((f"energy/stage_{j}", part) for j, part in enumerate(self.stages)),
        ]:
            how = "_estimated" if spent.estimated else ""
            found |= {f"{prefix}/joules{how}": spent.joules, f"{prefix}/kg_co2{how}": spent.kg_co2}
            if spent.money is not None:
                found[f"{prefix}/money"] = spent.money
            if spent is self.all:
                found |= {f"{key}_per_1000_tokens": self.per_thousand_tokens(value) for key, value in found.items()}
        return found

    def to_json(self) -> dict[str, Any]:
        amounts = {"joules": self.all.joules, "kg_co2": self.all.kg_co2, "money": self.all.money}
        per = {key: None if value is None else self.per_thousand_tokens(value) for key, value in amounts.items()}
        return {
            **asdict(self.all),
            "currency": self.currency,
            "unpriced": list(self.unpriced),
            "per_1000_tokens": per,
            "carbon_intensity_g_per_kwh": self.carbon_intensity,
            "carbon_source": self.carbon_source,
            "seconds": self.seconds,
            "num_tokens": self.num_tokens,
            "stages": [{"stage": j} | asdict(spent) for j, spent in enumerate(self.stages)],
        }


class Book:
    """Takes down what stages report, step by step."""

    def __init__(self, holdings: Sequence[Holding], energy: EnergyConfig) -> None:
        self._holdings, self._energy = holdings, energy
        self._busy = [0.0] * len(holdings)
        self._processors: list[Counter | None] = [None] * len(holdings)
        self._gpus: list[Counter | None] = [None] * len(holdings)
        self._begin: float | None = None
        self._end = 0.0
        self._tokens = 0

    def add(self, reports: Sequence[StageReport], num_tokens: int) -> None:
        """One step of all stages."""
        self._tokens += num_tokens
        for report in reports:
            self._busy[report.stage] += report.busy
            if report.drawn is not None:
                _count(self._processors, report.stage, report.drawn.processors)
                _count(self._gpus, report.stage, report.drawn.gpu)
            for event in report.events:
                self._begin = event.start if self._begin is None else min(self._begin, event.start)
                self._end = max(self._end, event.end)

    def close(self) -> Energy:
        """The account of all steps so far."""
        seconds = 0.0 if self._begin is None else self._end - self._begin
        stages = tuple(self._spent(j, seconds) for j in range(len(self._holdings)))
        prices = [spent.money for spent in stages if spent.money is not None]
        total = sum(spent.joules for spent in stages)
        given = self._energy.carbon_intensity
        return Energy(
            all=Spent(
                joules=total,
                estimated=any(spent.estimated for spent in stages),
                kg_co2=kg_co2(total, self._energy),
                money=sum(prices) if prices and len(prices) == len(stages) else None,
            ),
            stages=stages,
            num_tokens=self._tokens,
            seconds=seconds,
            carbon_intensity=WORLD if given is None else given,
            carbon_source="the world's average of 2024 (Ember)" if given is None else "energy.carbon_intensity",
            currency=self._energy.currency,
            unpriced=self._unpriced(),
        )

    def _unpriced(self) -> tuple[str, ...]:
        lacking = [holding.names[-1] for holding in self._holdings if price_of(self._energy, holding.names) is None]
        return tuple(dict.fromkeys(lacking)) if self._energy.price else ()

    def _spent(self, j: int, seconds: float) -> Spent:
        holding, busy = self._holdings[j], {"device": self._busy[j]}
        drawn, estimated = self._share(j), False
        if drawn is None:
            watts = watts_of(self._energy, holding.names if holding.gpu is None else ("cpu",), holding.cpus)
            drawn, estimated = joules(busy, {"device": 1}, seconds, {"device": watts}), True
        if holding.gpu is not None:
            counter = self._gpus[j]
            if counter is not None:
                drawn += counter.total
            else:
                watts = watts_of(self._energy, holding.names)
                drawn, estimated = drawn + joules(busy, {"device": 1}, seconds, {"device": watts}), True
        price = price_of(self._energy, holding.names, holding.cpus if holding.gpu is None else 1.0)
        cost = None if price is None else money({"device": 1}, seconds, {"device": price})
        return Spent(drawn, estimated, kg_co2(drawn, self._energy), cost)

    def _share(self, j: int) -> float | None:
        """A stage's part of what its node's processors drew: all stages there read the same counters."""
        node = [k for k, holding in enumerate(self._holdings) if holding.node == self._holdings[j].node]
        counted = [counter.total for k in node if (counter := self._processors[k]) is not None]
        if not counted:
            return None
        work = {k: self._busy[k] * self._holdings[k].cpus for k in node}
        whole = sum(work.values())
        return max(counted) * (work[j] / whole if whole else 1 / len(node))


def added(accounts: Sequence[Energy]) -> Energy:
    """One account of a run that had several plans one after the other: the stages of all of them, in their order."""
    stages = tuple(spent for one in accounts for spent in one.stages)
    amounts = [one.all for one in accounts]
    money = [spent.money for spent in amounts if spent.money is not None]
    return replace(
        accounts[-1],
        all=Spent(
            joules=sum(spent.joules for spent in amounts),
            estimated=any(spent.estimated for spent in amounts),
            kg_co2=sum(spent.kg_co2 for spent in amounts),
            money=sum(money) if len(money) == len(amounts) else None,
        ),
        stages=stages,
        num_tokens=sum(one.num_tokens for one in accounts),
        seconds=sum(one.seconds for one in accounts),
        unpriced=tuple(dict.fromkeys(name for one in accounts for name in one.unpriced)),
    )


def _count(counters: list[Counter | None], j: int, value: float | None) -> None:
    """Take down a meter's value; a stage that was started anew has a new one."""
    if value is not None:
        counter = counters[j] = counters[j] or Counter(None, 0.0)
        counter.add(value)


def holdings(stages: Sequence[Mapping[str, Any]]) -> list[Holding]:
    """Of the stages of a plan as `Beginning` has them."""
    return [
        Holding(
            stage.get("node", ""),
            stage.get("cpus", 1.0),
            stage.get("gpu"),
            stage["device"] if stage.get("device") not in (None, "cpu", "gpu") else None,
        )
        for stage in stages
    ]


def sentence(energy: Mapping[str, Any]) -> str:
    """One line for people, from what `Energy.to_json` gave."""
    about = "estimated " if energy["estimated"] else ""
    per = energy["per_1000_tokens"]
    text = (
        f"{about}{energy['joules'] / JOULES_PER_KWH * 1000:,.3g} Wh, {about}{energy['kg_co2'] * 1000:,.3g} g CO2 "
        f"({energy['carbon_intensity_g_per_kwh']:g} g/kWh, {energy['carbon_source']})"
    )
    if energy["money"] is not None:
        text += f", {energy['money']:,.3g} {energy['currency']}"
    elif energy["unpriced"]:
        text += f", no price for {' and '.join(energy['unpriced'])} in energy.price"
    text += f"; per 1,000 tokens {about}{per['joules']:,.3g} J"
    return text + ("" if per["money"] is None else f", {per['money']:,.3g} {energy['currency']}")
