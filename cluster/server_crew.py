"""The parameter servers of one run: made together, asked together, ended together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from torch import Tensor

from cluster.actors import Seat
from cluster.handover import DriverEnd, Named
from cluster.placement import Wanted
from cluster.server_actor import ParameterServerActor
from cluster.transport import Keys
from cluster.waiting import wait_for
from pipelines.train.parameter_server import ServerReport, ServerSpec
from pipelines.train.parameter_shards import joined
from pipelines.train.transport import server_number, who


class ServerCrew:
    """Parameter servers, one actor each."""

    def __init__(
        self, devices: Sequence[Wanted], *, group: PlacementGroup, first_bundle: int, keys: Keys, timeout: float
    ) -> None:
        """Start an actor in each of the bundles from `first_bundle` on, without waiting for them."""
        self._timeout = timeout
        self._hands = DriverEnd(keys=keys, timeout=timeout, number=server_number)
        self._servers: list[Any] = []
        for k, device in enumerate(devices):
            here = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=first_bundle + k)
            # Two calls at once: one may wait for an update while another one ends the actor.
            make = ParameterServerActor.options(num_cpus=device.cpus, scheduling_strategy=here, max_concurrency=2)
            self._servers.append(make.remote(k, cpus=device.cpus, keys=keys, timeout=timeout))

    def __len__(self) -> int:
        return len(self._servers)

    def meet(self) -> list[Seat]:
        """Wait for the actors, and say where each one sits."""
        seats: list[Seat] = self._all("seat", to="start")
        self._driver = self._hands.meet(self._servers, [seat.node for seat in seats])
        return seats

    def listen(self, room: str | None) -> dict[int, str]:
        """Let them listen, in a folder `room` where all are on one node; returns where, by number."""
        addresses = self._all("bind", room, to="listen")
        return {server_number(k): address for k, address in enumerate(addresses)}

    def build(
        self, specs: Sequence[ServerSpec], addresses: Mapping[int, str], states: Sequence[tuple[Named, Named]]
    ) -> None:
        """Give each server its pieces: of whole tensors, weights and the optimizer's state.

        Args:
            addresses: of all stages and servers, by number.
        """
        calls = {
            who(server_number(k)): server.build.remote(spec, addresses, self._driver)
            for k, (server, spec) in enumerate(zip(self._servers, specs, strict=True))
        }
        wait_for(calls, to="build its part of the parameters", timeout=self._timeout)
        self._hands.give("weights", {k: weights for k, (weights, _) in enumerate(states)})
        self._hands.give("moments", {k: moments for k, (_, moments) in enumerate(states)})
        self._all("settle", to="have its part of the parameters")

    def start_finish(self, version: int) -> dict[str, ray.ObjectRef[ServerReport]]:
        """Ask all servers to say when the weights have had so many updates."""
        return {who(server_number(k)): server.finish.remote(version) for k, server in enumerate(self._servers)}

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """The weights by fully qualified name, fetched piece by piece. No step may run meanwhile."""
        return joined(item for piece in self._hands.take("weights") for item in piece.items())

    def moments(self) -> Iterator[tuple[str, Tensor]]:
        """The optimizer's state, in the same way."""
        return joined(item for piece in self._hands.take("moments") for item in piece.items())

    def close(self) -> None:
        """End the actors; never waits for one that does not answer."""
        closing = [server.close.remote() for server in self._servers]
        ray.wait(closing, num_returns=len(closing), timeout=2)
        for server in self._servers:
            ray.kill(server)
        self._hands.close()

    def _all(self, method: str, *args: Any, to: str) -> list[Any]:
        calls = {who(server_number(k)): getattr(server, method).remote(*args) for k, server in enumerate(self._servers)}
        return wait_for(calls, to=to, timeout=self._timeout)
