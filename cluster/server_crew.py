"""The parameter servers of one run: made together, asked together, ended together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from torch import Tensor

from cluster.actors import Seat
from cluster.copies import Copy, Made
from cluster.handover import DriverEnd, Named
from cluster.placement import Wanted
from cluster.roll_call import Lost, lost_of
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
        self._timeout, self._devices, self._keys = timeout, devices, keys
        self._group, self._first_bundle = group, first_bundle
        self._hands = DriverEnd(keys=keys, timeout=timeout, number=server_number)
        self._servers = [self._make(k) for k in range(len(devices))]
        self.nodes: dict[str, str] = {}
        """The node of each server, by who it is, when they were met."""

    def _make(self, k: int) -> Any:
        here = PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=self._first_bundle + k)
        cpus = self._devices[k].cpus
        # Three calls at once: while one waits for an update and one for a copy, another may end the actor.
        make = ParameterServerActor.options(num_cpus=cpus, scheduling_strategy=here, max_concurrency=3)
        return make.remote(k, cpus=cpus, keys=self._keys, timeout=self._timeout)

    def interrupt(self) -> None:
        """Tell the servers to let go of what they do."""
        for server in self._servers:
            server.let_go.remote()

    def replace_lost(self, seconds: float) -> list[Lost]:
        """Put new actors in the place of those that are dead or do not answer in so many seconds.

        To be called after `interrupt`; then `meet`, `listen` and `build` again. Returns who was lost.
        """
        lost = lost_of(self._servers, seconds)
        for k in lost:
            self._servers[k] = self._make(k)
        return [Lost(who(server_number(k))) for k in lost]

    def copy(self, version: int) -> dict[str, Made]:
        """What every server owned after `version` updates."""
        made = [server.copy.options(num_returns=2).remote(version) for server in self._servers]
        return {who(server_number(k)): (of, copy) for k, (of, copy) in enumerate(made)}

    def __len__(self) -> int:
        return len(self._servers)

    def meet(self) -> list[Seat]:
        """Wait for the actors, and say where each one sits."""
        seats: list[Seat] = self._all("seat", to="start")
        self.nodes = {who(server_number(k)): seat.node for k, seat in enumerate(seats)}
        self._driver = self._hands.meet(self._servers, [seat.node for seat in seats])
        return seats

    def listen(self, room: str | None) -> dict[int, str]:
        """Let them listen, in a folder `room` where all are on one node; returns where, by number."""
        addresses = self._all("bind", room, to="listen")
        return {server_number(k): address for k, address in enumerate(addresses)}

    def build(
        self,
        specs: Sequence[ServerSpec],
        addresses: Mapping[int, str],
        state: Sequence[tuple[Named, Named]] | Sequence[ray.ObjectRef[Copy]],
    ) -> None:
        """Give each server its pieces.

        Args:
            addresses: of all stages and servers, by number.
            state: for each server the weights and the optimizer's state, of whole tensors; or a copy.
        """
        calls = {
            who(server_number(k)): server.build.remote(spec, addresses, self._driver)
            for k, (server, spec) in enumerate(zip(self._servers, specs, strict=True))
        }
        wait_for(calls, to="build its part of the parameters", timeout=self._timeout)
        copies = {
            who(server_number(k)): self._servers[k].restore.remote(own)
            for k, own in enumerate(state)
            if isinstance(own, ray.ObjectRef)
        }
        wait_for(copies, to="take up its copy", timeout=self._timeout)
        named = {k: own for k, own in enumerate(state) if isinstance(own, tuple)}
        self._hands.give("weights", {k: weights for k, (weights, _) in named.items()})
        self._hands.give("moments", {k: moments for k, (_, moments) in named.items()})
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
