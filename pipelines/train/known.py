"""What is known from earlier of a model on types of devices, and of the ways between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations_with_replacement

from pipelines.config import TrainConfig
from pipelines.plan.devices import Device, precision_of
from pipelines.plan.measured import Link, Measured
from pipelines.plan.measured_cache import Cache
from pipelines.train.subject import Subject

USABLE = 0.9
"""Of a GPU's memory: the rest is its driver's, and what no tensor fits between others."""


@dataclass(frozen=True, slots=True)
class Known:
    """One model in one cache."""

    cache: Cache
    subject: Subject
    trains: Mapping[str, TrainConfig] = field(default_factory=dict)
    """How types of device train that do it in a way of their own, by name."""

    def on(self, device: Device) -> tuple[Subject, str]:
        """The model as a device trains it, and the precision that it computes in."""
        own = replace(self.subject, train=self.trains.get(device.type, self.subject.train))
        precision = precision_of(device, own.train.precision)
        return own.in_precision(precision), precision

    def units(self, device: Device) -> Measured | None:
        """What is known of devices like this one: a Measured of one type.

        Raises:
            UserError: a file of the cache makes no sense.
        """
        subject, precision = self.on(device)
        return self.cache.units(subject.model_class, subject.fingerprint(), device, precision)

    def keep(self, measured: Measured, device: Device) -> Measured:
        """Write what was measured of one type, and return it as a later run will read it."""
        subject, precision = self.on(device)
        return self.cache.keep_units(measured, subject.fingerprint(), device, precision)

    def of(self, devices: Sequence[Device]) -> Measured | None:
        """All that is known of these devices; None if anything is not.

        Raises:
            UserError: a file of the cache makes no sense.
        """
        kinds = by_type(devices)
        found = [(there, self.units(there[0])) for there in kinds.values()]
        links = [(pair, self.cache.links(pair, same_node=pair[0].node == pair[1].node)) for pair in pairs(kinds)]
        whole = [as_it_is_now(one, there) for there, one in found if one is not None]
        if not whole or len(whole) < len(found) or any(link is None for _, link in links):
            return None
        return joined(whole, [named(link, pair) for pair, link in links if link is not None])


def by_type(devices: Sequence[Device]) -> dict[str, list[Device]]:
    found: dict[str, list[Device]] = {}
    for device in devices:
        found.setdefault(device.type, []).append(device)
    return found


def together(devices: Sequence[Device]) -> list[Device]:
    """Those on the node that has most of them."""
    ((node, _),) = Counter(device.node for device in devices).most_common(1)
    return [device for device in devices if device.node == node]


def as_it_is_now(known: Measured, devices: Sequence[Device]) -> Measured:
    """What is known of a type, with its name and with the memory that there is for its devices now."""
    kind = known.types[0]
    return replace(known, types=(replace(kind, name=devices[0].type, memory=room(devices, kind.process)),))


def joined(found: Sequence[Measured], links: Sequence[Link]) -> Measured:
    """Several types, each measured alone, and the ways between them."""
    held = tuple(map(max, zip(*(measured.held for measured in found), strict=True)))
    types = tuple(kind for measured in found for kind in measured.types)
    return replace(found[0], held=held, types=types, links=tuple(links))


def named(link: Link, pair: tuple[Device, Device]) -> Link:
    """A way, with the types of its ends as they are called now."""
    return replace(link, ends=(pair[0].type, pair[1].type))


def room(devices: Sequence[Device], process: int) -> int:
    """Bytes that a stage may fill on any of them."""
    least = min(devices, key=lambda device: device.memory)
    if least.kind == "gpu" and not least.logical:
        return int(least.memory * USABLE)
    return max(0, least.memory - process)


def pairs(kinds: Mapping[str, Sequence[Device]]) -> Iterator[tuple[Device, Device]]:
    """For every two types two devices on one node, and two on different nodes, if there are such.

    Of a type that has one device, the way within its node: a plan may be asked what more of them would bring.
    """
    for one, other in combinations_with_replacement(kinds, 2):
        firsts, seconds = kinds[one], kinds[other]
        if one == other and len(firsts) == 1:
            yield firsts[0], firsts[0]
            continue
        ways = (
            (a, b)
            for n, a in enumerate(firsts)
            for b in (seconds[n + 1 :] if one == other else seconds)
        )  # fmt: skip
        seen: set[bool] = set()
        for a, b in ways:
            if (a.node == b.node) not in seen:
                seen.add(a.node == b.node)
                yield a, b
